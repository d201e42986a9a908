// Hooks of an OCI config. Source: OCI runtime-spec config.md, "POSIX-platform Hooks".
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plan_writer.h"

namespace covey {

struct OciHook {
  std::string path;
  std::vector<std::string> args;  // with argv[0]
  std::vector<std::string> env;
  uint64_t timeout_ms = 0;  // 0 = none
};

/** The hooks of one kind, such as "poststop", in order. Throws InvalidInput. */
std::vector<OciHook> HooksOf(const nlohmann::json& config, const char* kind);

/** States handed to hooks on stdin: JSON whose last member is the pid, cut off before its value. */
struct HookStates {
  std::string creating;
  std::string created;
};

/** Writes the hooks the shim runs, prestart to startContainer; true when some of them run before the pivot. */
bool PlanHooks(PlanWriter& plan, const nlohmann::json& config, const HookStates& states);

}  // namespace covey
