#include "filter_program.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "sys_error.h"

namespace covey {
namespace {

constexpr size_t kShortJump = 255;

bool IsJump(const sock_filter& step) { return BPF_CLASS(step.code) == BPF_JMP; }
bool IsEnd(const sock_filter& step) { return BPF_CLASS(step.code) == BPF_RET; }

bool Holds(const sock_filter& step, uint32_t value) {
  switch (step.code) {
    case BPF_JMP | BPF_JEQ | BPF_K:
      return value == step.k;
    case BPF_JMP | BPF_JGE | BPF_K:
      return value >= step.k;
    case BPF_JMP | BPF_JGT | BPF_K:
      return value > step.k;
    default:
      throw SysError{ENOSYS, "seccomp", std::to_string(step.code)};
  }
}

FilterRun Run(const FilterProgram& program, const seccomp_data& data, bool stop_at_arguments) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); at++) {
    const sock_filter& step = program[at];
    if (step.code == (BPF_RET | BPF_K)) return {step.k, false, at};
    if (step.code == (BPF_LD | BPF_W | BPF_ABS)) {
      if (step.k > sizeof data - sizeof accumulator) break;
      if (stop_at_arguments && step.k >= offsetof(seccomp_data, instruction_pointer)) return {0, true, at};
      memcpy(&accumulator, reinterpret_cast<const char*>(&data) + step.k, sizeof accumulator);
    } else if (step.code == (BPF_ALU | BPF_AND | BPF_K)) {
      // Ranges need numbers that are only compared.
      if (stop_at_arguments) throw SysError{ENOSYS, "seccomp", "a number is masked"};
      accumulator &= step.k;
    } else if (step.code == (BPF_JMP | BPF_JA)) {
      at += step.k;
    } else {
      at += Holds(step, accumulator) ? step.jt : step.jf;
    }
  }
  return {SECCOMP_RET_KILL_PROCESS, false, program.size()};
}

/** What can be reached from `first` on, in its order: jumps only go forward, so nothing else has to move. */
FilterProgram PartFrom(const FilterProgram& program, size_t first) {
  std::set<size_t> reached, open = {first};
  while (!open.empty()) {
    const size_t at = *open.begin();
    open.erase(open.begin());
    if (at >= program.size() || !reached.insert(at).second || IsEnd(program[at])) continue;
    const sock_filter& step = program[at];
    if (!IsJump(step)) {
      open.insert(at + 1);
    } else if (BPF_OP(step.code) == BPF_JA) {
      open.insert(at + 1 + step.k);
    } else {
      open.insert({at + 1 + step.jt, at + 1 + step.jf});
    }
  }
  std::map<size_t, size_t> place;
  for (const size_t at : reached) place.emplace(at, place.size());
  const auto distance = [&](size_t from, size_t skip) {
    return place.at(from + 1 + skip) - place.at(from) - 1;
  };
  FilterProgram part;
  for (const size_t at : reached) {
    sock_filter step = program[at];
    if (IsJump(step) && BPF_OP(step.code) == BPF_JA) {
      step.k = static_cast<uint32_t>(distance(at, step.k));
    } else if (IsJump(step)) {
      step.jt = static_cast<uint8_t>(distance(at, step.jt));
      step.jf = static_cast<uint8_t>(distance(at, step.jf));
    }
    part.push_back(step);
  }
  return part;
}

/** Numbers from `first` to before the next range's. */
struct Range {
  uint32_t first;
  FilterRun run;
};

/**
 * Where answers may change: a program only ever compares the number, so between two neighbours of what it compares with
 * no comparison tells one number from another. Comparisons of other fields are among them and do no harm.
 */
std::set<uint32_t> BordersOf(const FilterProgram& program) {
  std::set<uint32_t> borders = {0};
  for (const sock_filter& step : program) {
    if (!IsJump(step) || BPF_OP(step.code) == BPF_JA) continue;
    borders.insert(step.k);
    if (step.k != UINT32_MAX) borders.insert(step.k + 1);
  }
  return borders;
}

std::vector<Range> RangesOf(const FilterProgram& program, const std::set<uint32_t>& borders, uint32_t arch) {
  std::vector<Range> ranges;
  for (const uint32_t number : borders) {
    const FilterRun run = RunFilterByNumber(program, arch, number);
    const bool same =
        !ranges.empty() && ranges.back().run.reads_arguments == run.reads_arguments &&
        (run.reads_arguments ? ranges.back().run.at == run.at : ranges.back().run.verdict == run.verdict);
    if (!same) ranges.push_back({number, run});
  }
  return ranges;
}

/** The search over ranges[from, to) with the number in the accumulator. */
FilterProgram Search(const FilterProgram& program, const std::vector<Range>& ranges, size_t from, size_t to) {
  const Range& range = ranges[from];
  if (to - from == 1 && range.run.reads_arguments) return PartFrom(program, range.run.at);
  if (to - from == 1) return {BPF_STMT(BPF_RET | BPF_K, range.run.verdict)};
  const size_t middle = from + (to - from) / 2;
  const FilterProgram below = Search(program, ranges, from, middle);
  FilterProgram search;
  if (below.size() <= kShortJump) {
    search.push_back(
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first, static_cast<uint8_t>(below.size()), 0));
  } else {
    search.push_back(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ranges[middle].first, 0, 1));
    search.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(below.size())));
  }
  Append(search, below);
  Append(search, Search(program, ranges, middle, to));
  return search;
}

}  // namespace

void Append(FilterProgram& to, const FilterProgram& more) { to.insert(to.end(), more.begin(), more.end()); }

uint32_t RunFilter(const FilterProgram& program, const seccomp_data& data) {
  return Run(program, data, false).verdict;
}

FilterRun RunFilterByNumber(const FilterProgram& program, uint32_t arch, uint32_t number) {
  seccomp_data data{};
  data.arch = arch;
  data.nr = static_cast<int>(number);
  return Run(program, data, true);
}

FilterProgram DispatchByNumber(const FilterProgram& program, const std::vector<uint32_t>& arches) {
  const std::set<uint32_t> borders = BordersOf(program);
  FilterProgram shaped = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch))};
  for (const uint32_t arch : arches) {
    const std::vector<Range> ranges = RangesOf(program, borders, arch);
    FilterProgram section = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    Append(section, Search(program, ranges, 0, ranges.size()));
    shaped.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 1, 0));
    shaped.push_back(BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(section.size())));
    Append(shaped, section);
  }
  // An architecture that the program does not know has one answer, whatever the number.
  shaped.push_back(BPF_STMT(BPF_RET | BPF_K, RunFilterByNumber(program, 0, 0).verdict));
  return shaped;
}

}  // namespace covey
