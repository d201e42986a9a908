#include "cgroup_resources.h"

#include <nlohmann/json.hpp>

#include "oci_reader.h"
#include "sys_error.h"

namespace covey {

void RefuseResource(const std::string& field, const std::string& why) {
  throw InvalidInput("linux.resources." + field, why);
}

CgroupSetting& CgroupSettings::Put(const std::string& field, const std::string& controller,
                                   const std::string& file, const std::string& value) {
  const std::string folder = layout_.FolderOf(controller, path_);
  if (folder.empty()) RefuseResource(field, "this host has no cgroup controller \"" + controller + "\"");
  list_.push_back({.folder = folder, .file = file, .value = value});
  return list_.back();
}

std::vector<CgroupSetting> SettingsOf(const nlohmann::json& resources, const CgroupLayout& layout,
                                      const std::string& path) {
  CgroupSettings out{layout, path};
  PutMemory(out, ObjectOr(resources, "memory"));
  PutCpu(out, ObjectOr(resources, "cpu"));
  PutBlockIo(out, ObjectOr(resources, "blockIO"));
  PutOthers(out, resources);
  return out.list();
}

}  // namespace covey
