// What an OCI config says of a process beside user, capabilities and command: scheduling, I/O priority, execution
// domain, CPUs, security labels.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "plan_writer.h"

namespace covey {

/** process.scheduler, process.ioPriority, linux.personality. Throws InvalidInput. Source: OCI runtime-spec 1.3. */
void PlanAttributes(PlanWriter& plan, const nlohmann::json& process, const nlohmann::json& linux);

/**
 * process.apparmorProfile and process.selinuxLabel for the next exec; linux.mountLabel is refused. A kernel without the
 * module is told as the reason, and so is a profile that is not loaded, where the kernel lists them. Must come before the pivot. Throws InvalidInput.
 */
void PlanLabels(PlanWriter& plan, const nlohmann::json& process, const nlohmann::json& linux);

/**
 * Whether the kernel's list of AppArmor profiles, lines of "NAME (MODE)", has this one. True of names that are no single
 * profile of this namespace (stacks, other namespaces): of those the list does not tell.
 */
bool ListsProfile(const std::string& list, const std::string& name);

/** Whether this kernel runs the security module. */
bool HasAppArmor();
bool HasSelinux();

/** process.execCPUAffinity, of commands that are run in a container that lives. Throws InvalidInput. */
void PlanExecAffinity(PlanWriter& plan, const nlohmann::json& process);

/** A CPU list such as "0-3,7" as sched_setaffinity's mask. Throws InvalidInput naming `field`. */
std::string CpuMask(const std::string& list, const std::string& field);

}  // namespace covey
