// BPF programs of seccomp: run here as the kernel runs them, and put into the shape that costs it least.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace covey {

using FilterProgram = std::vector<sock_filter>;

/** Puts `more` behind. */
void Append(FilterProgram& to, const FilterProgram& more);

/** How far a call gets on its architecture and number alone. */
struct FilterRun {
  /** SECCOMP_RET_* with its data; meaningless with `reads_arguments`. */
  uint32_t verdict = 0;
  /** The answer depends on the arguments, which instruction `at` is the first to look at. */
  bool reads_arguments = false;
  size_t at = 0;
};

/** What the kernel would answer. Throws SysError ENOSYS for an instruction that libseccomp never writes. */
uint32_t RunFilter(const FilterProgram& program, const seccomp_data& data);

/** The same up to the first look at an argument. */
FilterRun RunFilterByNumber(const FilterProgram& program, uint32_t arch, uint32_t number);

/**
 * A program with the same answers: one search over ranges of numbers with one answer each, and for calls whose arguments
 * count the part of `program` that looks at them. libseccomp compares each number of its own; the kernel compiles, and
 * runs for each number, what it is given at every start. `arches` must be all that `program` knows; they are AUDIT_ARCH_*.
 */
FilterProgram DispatchByNumber(const FilterProgram& program, const std::vector<uint32_t>& arches);

}  // namespace covey
