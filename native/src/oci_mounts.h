// The mounts, devices and sysctls of an OCI config as plan operations.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cgroup.h"
#include "oci_namespaces.h"
#include "plan_writer.h"

namespace covey {

/** config.mounts in order, then device nodes and links when /dev is the container's own. Throws InvalidInput. */
void PlanMounts(PlanWriter& plan, const nlohmann::json& config, const Namespaces& namespaces,
                const CgroupLayout& layout, const std::string& cgroup);

/** Whether a mount is shared with the host's: only one made outside the container's mount namespace can be. */
bool HasSharedMounts(const nlohmann::json& config);

}  // namespace covey
