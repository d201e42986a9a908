// Every fuzz target in one program, because compiling takes longer than fuzzing finds anything: COVEY_FUZZ names the
// target. Built with libFuzzer, ASan and UBSan by native/build.mjs; run by native/fuzz/main.mjs.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../runtime/arguments.h"
#include "../shim/plan.h"
#include "../src/sys_error.h"
#include "target.h"

namespace covey_fuzz {

void Must(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  abort();
}

std::vector<std::string> Parts(const std::string& input, size_t count) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (parts.size() + 1 < count) {
    const size_t end = input.find('\0', at);
    parts.push_back(input.substr(at, end - at));
    at = end == std::string::npos ? input.size() : end + 1;
  }
  parts.push_back(input.substr(at));
  return parts;
}

int WalkPlan(const char* at, const char* end) {
  plan plan{at, end};
  plan_record record;
  int count = 0, more = 0;
  size_t bytes = 0;
  while ((more = plan_next(&plan, &record)) == 1) {
    for (unsigned i = 0; i < record.count; i++) {
      bytes += strlen(plan_text(&record, i));
      for (const char* item = plan_each(&record.field[i], nullptr); item;
           item = plan_each(&record.field[i], item)) {
        bytes += strlen(item);
      }
      plan_number(&record, i);
    }
    count++;
  }
  Must(bytes <= 2 * static_cast<size_t>(end - at), "texts lie inside the plan");
  return more == 0 ? count : -1;
}

const Target& Chosen() {
  static const Target& chosen = []() -> const Target& {
    const char* name = getenv("COVEY_FUZZ");
    for (const auto* targets : {&kOciTargets, &kHostTargets, &kRuntimeTargets}) {
      for (const Target& target : *targets) {
        if (name != nullptr && strcmp(name, target.name) == 0) return target;
      }
    }
    fprintf(stderr, "COVEY_FUZZ must be one of:\n");
    for (const auto* targets : {&kOciTargets, &kHostTargets, &kRuntimeTargets}) {
      for (const Target& target : *targets) fprintf(stderr, "%s\n", target.name);
    }
    exit(2);
  }();
  return chosen;
}

}  // namespace covey_fuzz

/** Before anything runs: a name that is none is no finding, and leaves no file. */
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  covey_fuzz::Chosen();
  return 0;
}

// Any other exception is uncaught and ends the run: a parser that throws it has met what it did not think of.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    covey_fuzz::Chosen().run(std::string(reinterpret_cast<const char*>(bytes), size));
  } catch (const covey::InvalidInput& e) {
    covey_fuzz::Must(!e.field().empty(), "a refusal names the field");
  } catch (const covey::UsageError& e) {
    covey_fuzz::Must(*e.what() != '\0', "a refusal has its words");
  } catch (const covey::SysError& e) {
    covey_fuzz::Must(e.error() != 0, "a failure has its errno");
  }
  return 0;
}
