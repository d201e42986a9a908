// A container's cgroup as records of the plan: folders, settings, device rules, entry.
#include <nlohmann/json.hpp>

#include "cgroup_resources.h"
#include "device_rules.h"

namespace covey {
namespace {

using nlohmann::json;

void PlanDeviceRules(PlanWriter& plan, const CgroupLayout& layout, const std::string& path,
                     const json& resources) {
  const std::vector<DeviceRule> rules = DeviceRulesOf(resources);
  if (rules.empty()) return;
  if (layout.unified) {
    const std::vector<BpfInstruction> program = DeviceProgram(rules);
    plan.Op(PLAN_CGROUP_DEVICES).Bytes(program.data(), program.size() * sizeof program[0]);
    return;
  }
  const std::string folder = layout.FolderOf("devices", path);
  if (folder.empty()) RefuseResource("devices", "this host has no cgroup controller \"devices\"");
  for (const DeviceLine& line : DeviceLines(rules)) {
    plan.Op(PLAN_CGROUP_WRITE)
        .Text(folder + "/" + line.file)
        .Text(line.text)
        .Number(static_cast<uint64_t>(CgroupSetting::Mode::kMust));
  }
}

}  // namespace

void PlanCgroup(PlanWriter& plan, const CgroupLayout& layout, const std::string& path,
                const json& resources) {
  for (const std::string& folder : layout.FoldersOf(path)) plan.Op(PLAN_CGROUP_DIR).Text(folder);
  for (const CgroupSetting& setting : SettingsOf(resources, layout, path)) {
    plan.Op(PLAN_CGROUP_WRITE, "linux.resources")
        .Text(setting.Path())
        .Text(setting.value)
        .Number(static_cast<uint64_t>(setting.mode));
    if (!setting.other_file.empty())
      plan.Text(setting.folder + "/" + setting.other_file).Text(setting.other_value);
  }
  // The program is attached to the folder that was opened before it.
  if (layout.unified) plan.Op(PLAN_CGROUP_UNIFIED).Text(layout.unified_mount + path);
  PlanDeviceRules(plan, layout, path, resources);
  if (layout.unified) {
    plan.Op(PLAN_OOM_FILE).Text(layout.unified_mount + path + "/memory.events");
    return;
  }
  for (const std::string& folder : layout.FoldersOf(path)) plan.Op(PLAN_CGROUP_TASKS).Text(folder + "/tasks");
  const std::string memory = layout.FolderOf("memory", path);
  if (!memory.empty()) plan.Op(PLAN_OOM_FILE).Text(memory + "/memory.oom_control");
}

}  // namespace covey
