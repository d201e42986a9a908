// linux.resources.cpu: the cpu and cpuset controllers.
#include <cmath>
#include <nlohmann/json.hpp>

#include "cgroup_resources.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

void PutQuotaV2(CgroupSettings& out, const json& cpu) {
  const auto shares = NumberOr(cpu, "shares", 0), quota = NumberOr(cpu, "quota", 0);
  const auto period = NumberOr(cpu, "period", 0), burst = NumberOr(cpu, "burst", 0);
  if (shares > 0)
    out.Put("cpu.shares", "cpu", "cpu.weight", std::to_string(WeightOfShares(static_cast<uint64_t>(shares))));
  if (quota != 0 || period != 0) {
    // Without a period the one in force stays.
    const std::string most = quota > 0 ? std::to_string(quota) : "max";
    out.Put("cpu.quota", "cpu", "cpu.max", period > 0 ? most + " " + std::to_string(period) : most);
  }
  if (burst > 0) out.Put("cpu.burst", "cpu", "cpu.max.burst", std::to_string(burst));
  for (const char* key : {"realtimePeriod", "realtimeRuntime"}) {
    if (NumberOr(cpu, key, 0) > 0)
      RefuseResource(std::string("cpu.") + key, "cgroup v2 shares out no realtime");
  }
}

void PutQuotaV1(CgroupSettings& out, const json& cpu) {
  const struct {
    const char* key;
    const char* file;
  } files[] = {{"shares", "cpu.shares"},
               {"period", "cpu.cfs_period_us"},
               {"quota", "cpu.cfs_quota_us"},
               {"burst", "cpu.cfs_burst_us"},
               {"realtimePeriod", "cpu.rt_period_us"},
               {"realtimeRuntime", "cpu.rt_runtime_us"}};
  for (const auto& [key, file] : files) {
    const auto value = NumberOr(cpu, key, 0);
    if (value != 0) out.Put(std::string("cpu.") + key, "cpu", file, std::to_string(value));
  }
}

}  // namespace

uint64_t WeightOfShares(uint64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  const double l = std::log2(static_cast<double>(shares));
  const double exponent = (l * l + 125 * l) / 612 - 7.0 / 34;
  // The default must not be rounded up to 101 by the last bit.
  return static_cast<uint64_t>(std::ceil(std::pow(10, exponent) - 1e-9));
}

void PutCpu(CgroupSettings& out, const json& cpu) {
  if (out.unified())
    PutQuotaV2(out, cpu);
  else
    PutQuotaV1(out, cpu);
  // After the shares: an idle group takes no weight.
  if (cpu.contains("idle") && !cpu["idle"].is_null()) {
    const auto idle = NumberOr(cpu, "idle", 0);
    if (idle != 0 && idle != 1) RefuseResource("cpu.idle", "must be 0 or 1");
    if (idle == 1 && NumberOr(cpu, "shares", 0) > 0)
      RefuseResource("cpu.idle", "an idle group has no cpu.shares");
    out.Put("cpu.idle", "cpu", "cpu.idle", std::to_string(idle));
  }
  const std::string cpus = TextOr(cpu, "cpus", ""), mems = TextOr(cpu, "mems", "");
  if (!cpus.empty()) out.Put("cpu.cpus", "cpuset", "cpuset.cpus", cpus);
  if (!mems.empty()) out.Put("cpu.mems", "cpuset", "cpuset.mems", mems);
}

}  // namespace covey
