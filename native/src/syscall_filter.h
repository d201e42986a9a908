// System call filters: an OCI `linux.seccomp` object becomes a BPF program, once per profile.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "filter_program.h"
#include "plan_writer.h"

namespace covey {

struct SeccompFilter {
  /** At most the kernel's 4096 instructions. */
  FilterProgram program;
  /** SECCOMP_FILTER_FLAG_* of seccomp(2). */
  uint32_t flags = 0;
};

/** The profile as libseccomp puts it, before it is shaped: what BuildSeccomp must agree with. */
SeccompFilter TranslateSeccomp(const nlohmann::json& profile);

/**
 * Builds the filter. Names of system calls that neither libseccomp nor this core knows are left out, as the runtimes of
 * the specification do; unknown actions, operators, architectures and flags are refused, and so is whatever needs a
 * listener. Where the profile refuses by default with an error, calls newer than every one it names get ENOSYS, so that
 * C libraries fall back. 2–3 ms. Throws InvalidInput naming the field. Source: OCI runtime-spec, config-linux.md.
 */
SeccompFilter BuildSeccomp(const nlohmann::json& profile);

/** The same, built once for each of the 32 profiles used last. Thread-safe. */
std::shared_ptr<const SeccompFilter> SeccompFor(const nlohmann::json& profile);

/** The same for a profile's text, which is only parsed when it has not been met lately; nothing for what is no object or empty. */
std::shared_ptr<const SeccompFilter> SeccompForText(const std::string& profile);

/** What the kernel would answer: SECCOMP_RET_* with its data. `number` in this machine's numbering. */
uint32_t SeccompVerdict(const SeccompFilter& filter, int number, const uint64_t (&args)[6] = {});

/**
 * PLAN_SECCOMP. A filter under which the container could never start is refused here, with the system call it lacks,
 * rather than left to end in a signal. `reaper`: see PLAN_REAPER.
 */
void PlanSeccomp(PlanWriter& plan, const nlohmann::json& process, const SeccompFilter& filter, bool reaper);

}  // namespace covey
