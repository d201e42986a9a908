// The process of an OCI config as plan operations.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plan_writer.h"
#include "syscall_filter.h"

namespace covey {

/** process.oomScoreAdj, 0 when it is not given. */
void PlanOomScore(PlanWriter& plan, const nlohmann::json& process);

/**
 * Limits, scheduling, user, capabilities, folder, environment, command, and of `linux` what belongs to a process:
 * personality and seccomp. `reaper`: see PLAN_REAPER. `filter`: instead of linux.seccomp. Throws InvalidInput.
 */
void PlanProcess(PlanWriter& plan, const nlohmann::json& process, const nlohmann::json& linux, bool reaper,
                 std::shared_ptr<const SeccompFilter> filter = nullptr);

/** The terminal of a container's first process, when it asks for one. */
void PlanTerminal(PlanWriter& plan, const nlohmann::json& process);

/** Capabilities again: all that this process has, for root in the container. Takes the place of those before. */
void PlanEveryCapability(PlanWriter& plan);
/** Every capability known here, in the kernel's order. */
std::vector<std::string> KnownCapabilities();

}  // namespace covey
