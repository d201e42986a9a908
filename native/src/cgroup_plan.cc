// linux.resources of an OCI config as cgroup files, for v1 and v2. Source: OCI runtime-spec config-linux.md, "Control
// groups"; kernel docs, cgroup-v1 and cgroup-v2.
#include <nlohmann/json.hpp>

#include "cgroup.h"
#include "oci_reader.h"
#include "sys_error.h"

namespace covey {
namespace {

using nlohmann::json;

// What every container may do: make any node, use the pseudo devices and its own terminals. Source: Docker's default.
const std::vector<std::string> kDefaultDevices = {"c *:* m",   "b *:* m",   "c 1:3 rwm",  "c 1:5 rwm",
                                                  "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",  "c 5:0 rwm",
                                                  "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};

struct Writer {
  PlanWriter& plan;
  const CgroupLayout& layout;
  const std::string& path;

  /** One limit. A controller the host lacks is an error unless `optional`. */
  void Put(const std::string& controller, const std::string& file, const std::string& value,
           bool optional = false) const {
    const std::string folder = layout.FolderOf(controller, path);
    if (folder.empty()) {
      if (optional) return;
      throw InvalidInput("linux.resources", "this host has no cgroup controller \"" + controller + "\"");
    }
    plan.Op(PLAN_CGROUP_WRITE).Text(folder + "/" + file).Text(value).Number(optional ? 1 : 0);
  }
};

std::string DeviceRule(const json& rule) {
  const auto number = [&](const char* key) {
    const auto found = rule.find(key);
    return found == rule.end() || found->is_null() || found->get<int64_t>() < 0
               ? std::string("*")
               : std::to_string(found->get<int64_t>());
  };
  const std::string type = TextOr(rule, "type", "a");
  if (type != "a" && type != "b" && type != "c")
    throw InvalidInput("linux.resources.devices", "type must be a, b or c");
  const std::string access = TextOr(rule, "access", "rwm");
  if (access.empty() || access.find_first_not_of("rwm") != std::string::npos) {
    throw InvalidInput("linux.resources.devices", "access must be made of r, w and m");
  }
  return type + " " + number("major") + ":" + number("minor") + " " + access;
}

/** The rules in v1's order; the first refuses everything, or nothing is restricted. */
void PutDevices(const Writer& out, const json& resources) {
  const json& rules = ArrayOr(resources, "devices");
  if (rules.empty()) return;
  std::vector<std::string> allowed;
  bool denies_all = false;
  for (const json& rule : rules) {
    const bool allow = FlagOr(rule, "allow", false);
    const std::string text = DeviceRule(rule);
    if (!allow && text == "a *:* rwm") {
      denies_all = true;
      allowed.clear();
    } else if (allow) {
      if (denies_all && text == "a *:* rwm") denies_all = false;
      allowed.push_back(text);
    } else {
      throw InvalidInput("linux.resources.devices",
                         "only \"deny everything\" followed by permissions is supported");
    }
  }
  if (!denies_all) return;
  allowed.insert(allowed.end(), kDefaultDevices.begin(), kDefaultDevices.end());
  if (out.layout.unified) {
    out.plan.Op(PLAN_CGROUP_DEVICES).List(allowed);
    return;
  }
  out.Put("devices", "devices.deny", "a");
  for (const std::string& rule : allowed) out.Put("devices", "devices.allow", rule);
}

void PutMemory(const Writer& out, const json& memory) {
  const auto limit = NumberOr(memory, "limit", 0);
  const auto swap = NumberOr(memory, "swap", 0);
  const auto low = NumberOr(memory, "reservation", 0);
  if (out.layout.unified) {
    if (limit != 0) out.Put("memory", "memory.max", limit < 0 ? "max" : std::to_string(limit));
    if (limit > 0 && swap >= 0)
      out.Put("memory", "memory.swap.max", std::to_string(swap > limit ? swap - limit : 0), true);
    if (low > 0) out.Put("memory", "memory.low", std::to_string(low));
    return;
  }
  if (limit != 0) out.Put("memory", "memory.limit_in_bytes", std::to_string(limit));
  // Memory and swap together; without a word about swap there is none. Kernels without swap accounting lack the file.
  if (limit > 0)
    out.Put("memory", "memory.memsw.limit_in_bytes", std::to_string(swap == 0 ? limit : swap), true);
  if (low > 0) out.Put("memory", "memory.soft_limit_in_bytes", std::to_string(low));
}

void PutCpu(const Writer& out, const json& cpu) {
  const auto shares = NumberOr(cpu, "shares", 0);
  const auto quota = NumberOr(cpu, "quota", 0);
  const auto period = NumberOr(cpu, "period", 100'000);
  const auto burst = NumberOr(cpu, "burst", 0);
  const std::string cpus = TextOr(cpu, "cpus", ""), mems = TextOr(cpu, "mems", "");
  if (out.layout.unified) {
    // The same curve as every runtime's. Source: runtime-spec config-linux.md, crun's conversion.
    if (shares > 0) out.Put("cpu", "cpu.weight", std::to_string(1 + ((shares - 2) * 9999) / 262142));
    if (quota != 0)
      out.Put("cpu", "cpu.max", (quota < 0 ? "max" : std::to_string(quota)) + " " + std::to_string(period));
    if (burst > 0) out.Put("cpu", "cpu.max.burst", std::to_string(burst));
  } else {
    if (shares > 0) out.Put("cpu", "cpu.shares", std::to_string(shares));
    if (quota != 0) {
      out.Put("cpu", "cpu.cfs_period_us", std::to_string(period));
      out.Put("cpu", "cpu.cfs_quota_us", std::to_string(quota));
    }
    if (burst > 0) out.Put("cpu", "cpu.cfs_burst_us", std::to_string(burst));
  }
  if (!cpus.empty()) out.Put("cpuset", "cpuset.cpus", cpus);
  if (!mems.empty()) out.Put("cpuset", "cpuset.mems", mems);
}

void PutBlock(const Writer& out, const json& block) {
  const auto weight = NumberOr(block, "weight", 0);
  if (weight > 0) {
    if (out.layout.unified)
      out.Put("blkio", "io.weight", std::to_string(weight));
    else
      out.Put("blkio", "blkio.weight", std::to_string(weight), true);
  }
  const struct {
    const char* key;
    const char* v1;
    const char* v2;
  } kinds[] = {{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"},
               {"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"},
               {"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"},
               {"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"}};
  for (const auto& kind : kinds) {
    for (const json& device : ArrayOr(block, kind.key)) {
      const std::string numbers =
          std::to_string(NumberOr(device, "major", 0)) + ":" + std::to_string(NumberOr(device, "minor", 0));
      const std::string rate = std::to_string(NumberOr(device, "rate", 0));
      if (out.layout.unified)
        out.Put("blkio", "io.max", numbers + " " + kind.v2 + "=" + rate);
      else
        out.Put("blkio", kind.v1, numbers + " " + rate);
    }
  }
}

}  // namespace

void PlanCgroup(PlanWriter& plan, const CgroupLayout& layout, const std::string& path,
                const json& resources) {
  const Writer out{plan, layout, path};
  for (const std::string& folder : layout.FoldersOf(path)) plan.Op(PLAN_CGROUP_DIR).Text(folder);
  PutMemory(out, ObjectOr(resources, "memory"));
  PutCpu(out, ObjectOr(resources, "cpu"));
  PutBlock(out, ObjectOr(resources, "blockIO"));
  const auto pids = NumberOr(ObjectOr(resources, "pids"), "limit", 0);
  if (pids != 0) out.Put("pids", "pids.max", pids < 0 ? "max" : std::to_string(pids));
  if (layout.unified) {
    for (const auto& [file, value] : ObjectOr(resources, "unified").items()) {
      if (file.find('/') != std::string::npos)
        throw InvalidInput("linux.resources.unified", "a key must be a file name");
      out.Put("", file, value.get<std::string>());
    }
  }
  PutDevices(out, resources);
  if (layout.unified) {
    plan.Op(PLAN_CGROUP_UNIFIED).Text(layout.unified_mount + path);
    plan.Op(PLAN_OOM_FILE).Text(layout.unified_mount + path + "/memory.events");
    return;
  }
  for (const std::string& folder : layout.FoldersOf(path)) plan.Op(PLAN_CGROUP_TASKS).Text(folder + "/tasks");
  const std::string memory = layout.FolderOf("memory", path);
  if (!memory.empty()) plan.Op(PLAN_OOM_FILE).Text(memory + "/memory.oom_control");
}

}  // namespace covey
