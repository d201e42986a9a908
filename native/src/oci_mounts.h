// The mounts, devices and sysctls of an OCI config as plan operations.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cgroup.h"
#include "plan_writer.h"

namespace covey {

/** config.mounts in order, then device nodes and links when /dev is the container's own. Throws InvalidInput. */
void PlanMounts(PlanWriter& plan, const nlohmann::json& config, const CgroupLayout& layout,
                const std::string& cgroup);

/** `net.ipv4.ip_forward` as a path below /proc/sys; only what the container's own namespaces hold is allowed. */
std::string SysctlPath(const std::string& key);

}  // namespace covey
