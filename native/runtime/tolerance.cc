#include "tolerance.h"

#include <algorithm>

#include "../src/mount_options.h"
#include "../src/oci_attributes.h"
#include "../src/oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

void TakeLabel(json& from, const char* key, const char* field, bool has_module, const char* module,
               const Log& log) {
  const std::string label = TextOr(from, key, "");
  if (label.empty() || has_module) return;
  from.erase(key);
  log.Say(Level::kWarning,
          std::string(field) + " \"" + label + "\" is without effect: this kernel runs no " + module);
}

bool IsBind(const json& mount) {
  return TextOr(mount, "type", "") == "bind" || SortMountOptions(TextsOr(mount, "options")).bind;
}

void TakeDataOfBind(json& mount, const Log& log) {
  const std::vector<std::string> data = SortMountOptions(TextsOr(mount, "options")).data;
  if (data.empty() || !IsBind(mount)) return;
  json kept = json::array();
  for (const std::string& option : TextsOr(mount, "options")) {
    if (std::find(data.begin(), data.end(), option) == data.end()) kept.push_back(option);
  }
  mount["options"] = kept;
  for (const std::string& option : data)
    log.Say(Level::kWarning, "mounts." + TextOr(mount, "destination", "") + ".options \"" + option +
                                 "\" is without effect: a bind has no options of a file system");
}

void TakeKernelMemory(json& config, const Log& log) {
  if (NumberOr(ObjectOr(ObjectOr(ObjectOr(config, "linux"), "resources"), "memory"), "kernel", 0) == 0)
    return;
  config["linux"]["resources"]["memory"].erase("kernel");
  log.Say(Level::kWarning,
          "linux.resources.memory.kernel is without effect: the kernel limits its memory only together with "
          "the rest, by memory.limit");
}

/** As with every runtime: nodes are made in a /dev of the container's own, not in what is bound there. */
void TakeDevices(json& config, const Log& log) {
  if (ArrayOr(ObjectOr(config, "linux"), "devices").empty()) return;
  bool own_dev = false;
  for (const json& mount : ArrayOr(config, "mounts")) {
    if (mount.is_object() && TextOr(mount, "destination", "") == "/dev")
      own_dev = TextOr(mount, "type", "") == "tmpfs";
  }
  if (own_dev) return;
  config["linux"].erase("devices");
  log.Say(Level::kWarning, "linux.devices is without effect: no tmpfs is mounted at /dev");
}

}  // namespace

void TolerateProcess(json& process, const Log& log) {
  if (TextOr(process, "apparmorProfile", "") != "unconfined")
    TakeLabel(process, "apparmorProfile", "process.apparmorProfile", HasAppArmor(), "AppArmor", log);
  TakeLabel(process, "selinuxLabel", "process.selinuxLabel", HasSelinux(), "SELinux", log);
}

void TolerateConfig(json& config, const Log& log) {
  if (!ObjectOr(config, "process").empty()) TolerateProcess(config["process"], log);
  if (!ObjectOr(config, "linux").empty())
    TakeLabel(config["linux"], "mountLabel", "linux.mountLabel", HasSelinux(), "SELinux", log);
  TakeKernelMemory(config, log);
  TakeDevices(config, log);
  if (ArrayOr(config, "mounts").empty()) return;
  for (json& mount : config["mounts"]) {
    if (mount.is_object()) TakeDataOfBind(mount, log);
  }
}

}  // namespace covey
