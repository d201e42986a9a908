// Changing the limits of a container that runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cgroup_resources.h"

namespace covey {

/** A file of the cgroup as it stands; "" when it is not there. */
using ReadCurrent = std::function<std::string(const std::string& path)>;

/**
 * The settings of an update in an order that the kernel takes: memory and swap, quota and burst so that the smaller never
 * exceeds the larger on the way. What goes with a changed limit follows it: a container without swap stays so.
 * `resources` is linux.resources; absent parts stay as they are. Pure but for `current`.
 * Throws InvalidInput: what SettingsOf refuses, device rules, and with memory.checkBeforeUpdate a limit below use.
 */
std::vector<CgroupSetting> PlanUpdate(const nlohmann::json& resources, const CgroupLayout& layout,
                                      const std::string& path, const ReadCurrent& current);

/**
 * Applies an update to the cgroup, all or nothing: when a setting fails, those before it get their old values back.
 * Throws SysError for the one that failed, ENOENT when there is no such cgroup.
 */
void UpdateCgroup(const std::string& path, const std::string& resources);

}  // namespace covey
