// What a fuzz target is. Each gets any bytes; it may refuse them by InvalidInput, UsageError or SysError and by nothing else.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey_fuzz {

struct Target {
  const char* name;
  void (*run)(const std::string& input);
};

extern const std::vector<Target> kOciTargets;
extern const std::vector<Target> kHostTargets;
extern const std::vector<Target> kRuntimeTargets;

/** Ends the run with `what` when it does not hold; the fuzzer keeps the input. */
void Must(bool holds, const char* what);

/** The input's parts between zero bytes, always `count`; absent ones are empty, the last one keeps its zero bytes. */
std::vector<std::string> Parts(const std::string& input, size_t count);

/** The number of records of a plan that was written by us or cut by the fuzzer; -1 when it is broken. */
int WalkPlan(const char* at, const char* end);

}  // namespace covey_fuzz
