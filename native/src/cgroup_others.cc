// linux.resources.{pids, hugepageLimits, network, rdma, unified}.
#include <limits>
#include <nlohmann/json.hpp>

#include "cgroup_resources.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

/** "2MB", "64KB", "1GB": a number and a unit, as the kernel names its files. */
bool IsPageSize(const std::string& text) {
  const size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0 || digits == std::string::npos || text[0] == '0') return false;
  const std::string unit = text.substr(digits);
  return unit == "KB" || unit == "MB" || unit == "GB";
}

void PutHugePages(CgroupSettings& out, const json& limits) {
  const std::string field = "hugepageLimits";
  for (const json& item : limits) {
    const std::string size = TextOr(item, "pageSize", "");
    if (!IsPageSize(size)) RefuseResource(field, "pageSize must be such as 64KB, 2MB or 1GB");
    const auto limit = NumberOr(item, "limit", -1);
    if (limit < 0) RefuseResource(field, "needs a limit of at least 0 bytes");
    // Pages that were reserved but not yet touched count too, where the kernel counts them (5.7).
    const std::string value = std::to_string(limit), end = out.unified() ? ".max" : ".limit_in_bytes";
    out.Put(field, "hugetlb", "hugetlb." + size + end, value);
    out.Put(field, "hugetlb", "hugetlb." + size + ".rsvd" + end, value).mode = CgroupSetting::Mode::kOptional;
  }
}

void PutNetwork(CgroupSettings& out, const json& network) {
  const auto id = NumberOr(network, "classID", 0);
  const json& priorities = ArrayOr(network, "priorities");
  if (out.unified() && (id != 0 || !priorities.empty()))
    RefuseResource("network", "cgroup v2 has neither net_cls nor net_prio");
  if (id < 0 || id > std::numeric_limits<uint32_t>::max())
    RefuseResource("network.classID", "must fit 32 bits");
  if (id != 0) out.Put("network.classID", "net_cls", "net_cls.classid", std::to_string(id));
  for (const json& item : priorities) {
    const std::string name = TextOr(item, "name", "");
    if (name.empty() || name.find_first_of(" \t\n/") != std::string::npos)
      RefuseResource("network.priorities", "needs the name of a network device");
    out.Put("network.priorities", "net_prio", "net_prio.ifpriomap",
            name + " " + std::to_string(NumberOr(item, "priority", 0)));
  }
}

void PutRdma(CgroupSettings& out, const json& devices) {
  for (const auto& [device, limits] : devices.items()) {
    if (device.empty() || device.find_first_of(" \t\n") != std::string::npos || !limits.is_object())
      RefuseResource("rdma", "needs a device's name and its limits");
    std::string value = device;
    if (limits.contains("hcaHandles"))
      value += " hca_handle=" + std::to_string(NumberOr(limits, "hcaHandles", 0));
    if (limits.contains("hcaObjects"))
      value += " hca_object=" + std::to_string(NumberOr(limits, "hcaObjects", 0));
    out.Put("rdma." + device, "rdma", "rdma.max", value);
  }
}

/** Files of v2 by name. Those that move, freeze or kill processes are no resources. */
void PutUnified(CgroupSettings& out, const json& files) {
  for (const auto& [file, value] : files.items()) {
    const std::string field = "unified." + file;
    if (!out.unified()) RefuseResource(field, "this host has cgroup v1, where there is no such file");
    const size_t dot = file.find('.');
    if (dot == 0 || dot == std::string::npos || file.find('/') != std::string::npos)
      RefuseResource(field, "a key must be a file's name, such as memory.high");
    if (file.rfind("cgroup.", 0) == 0 && file.rfind("cgroup.max.", 0) != 0 && file != "cgroup.pressure")
      RefuseResource(field, "is no resource");
    if (!value.is_string()) RefuseResource(field, "must be text");
    out.Put(field, file.substr(0, dot), file, value.get<std::string>());
  }
}

}  // namespace

void PutOthers(CgroupSettings& out, const json& resources) {
  const auto pids = NumberOr(ObjectOr(resources, "pids"), "limit", 0);
  if (pids != 0) out.Put("pids.limit", "pids", "pids.max", pids < 0 ? "max" : std::to_string(pids));
  PutHugePages(out, ArrayOr(resources, "hugepageLimits"));
  PutNetwork(out, ObjectOr(resources, "network"));
  PutRdma(out, ObjectOr(resources, "rdma"));
  PutUnified(out, ObjectOr(resources, "unified"));
}

}  // namespace covey
