// What an OCI config says of a process beside user, capabilities and command: scheduling, I/O priority, execution
// domain, CPUs, security labels.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "plan_writer.h"

namespace covey {

/** process.scheduler, process.ioPriority, linux.personality. Throws InvalidInput. Source: OCI runtime-spec 1.2. */
void PlanAttributes(PlanWriter& plan, const nlohmann::json& process, const nlohmann::json& linux);

/**
 * process.apparmorProfile and process.selinuxLabel for the next exec; linux.mountLabel is refused. A kernel without the
 * module is told as the reason. Must come before the pivot. Throws InvalidInput.
 */
void PlanLabels(PlanWriter& plan, const nlohmann::json& process, const nlohmann::json& linux);

/** Whether this kernel runs the security module. */
bool HasAppArmor();
bool HasSelinux();

/** process.execCPUAffinity, of commands that are run in a container that lives. Throws InvalidInput. */
void PlanExecAffinity(PlanWriter& plan, const nlohmann::json& process);

/** A CPU list such as "0-3,7" as sched_setaffinity's mask. Throws InvalidInput naming `field`. */
std::string CpuMask(const std::string& list, const std::string& field);

}  // namespace covey
