// What only the OCI command line asks of the shim: containers and commands that are left to whoever collects orphans.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cgroup.h"
#include "oci_hooks.h"

namespace covey {

/** Of a container that the shim makes and leaves. */
struct LeaveOptions {
  /** Descriptors after the shim's own, the console socket first when there is one. */
  unsigned kept = 0;
  bool console = false;
  HookStates states;
};

/** Writes the settings of leaving; true when hooks run before the pivot. Throws InvalidInput. */
bool PlanLeave(PlanWriter& plan, const nlohmann::json& config, const LeaveOptions& leave);

/** Of a command that joins a container. */
struct JoinOptions {
  std::string cgroup;
  unsigned kept = 0;
  bool console = false;
  /** The container's root is not that of its mount namespace. */
  bool chroot = false;
};

/** The plan of `covey-shim --join`; `process` and `linux` as in a config, of `linux` what belongs to a process. Throws
 * InvalidInput. */
std::string PlanJoin(const nlohmann::json& process, const nlohmann::json& linux, const JoinOptions& options,
                     const CgroupLayout& layout);

}  // namespace covey
