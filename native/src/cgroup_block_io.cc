// linux.resources.blockIO: weights and rates of block devices.
#include <nlohmann/json.hpp>

#include "cgroup_resources.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr int64_t kWeightMin = 10, kWeightMax = 1000;

int64_t WeightIn(const json& from, const char* key, const std::string& field) {
  const auto weight = NumberOr(from, key, 0);
  if (weight != 0 && (weight < kWeightMin || weight > kWeightMax))
    RefuseResource(field, "must be between 10 and 1000");
  return weight;
}

/** The v2 cost model counts from 1 to 10000. Source: crun's and runc's conversion. */
std::string CostWeight(int64_t weight) { return std::to_string(1 + (weight - kWeightMin) * 9999 / 990); }

std::string Numbers(const json& device, const std::string& field) {
  const auto major = NumberOr(device, "major", -1), minor = NumberOr(device, "minor", -1);
  if (major < 0 || minor < 0) RefuseResource(field, "needs a device's major and minor");
  return std::to_string(major) + ":" + std::to_string(minor);
}

/** `device` is "" for the weight of all. BFQ and, before 5.0, CFQ on v1; BFQ or the cost model on v2. */
void PutWeight(CgroupSettings& out, const std::string& field, const std::string& device, int64_t weight) {
  const std::string value = (device.empty() ? "" : device + " ") + std::to_string(weight);
  if (out.unified()) {
    CgroupSetting& setting = out.Put(field, "io", "io.bfq.weight", value);
    setting.other_file = "io.weight";
    setting.other_value = (device.empty() ? "default" : device) + " " + CostWeight(weight);
    return;
  }
  const std::string end = device.empty() ? "weight" : "weight_device";
  CgroupSetting& setting = out.Put(field, "blkio", "blkio." + end, value);
  setting.other_file = "blkio.bfq." + end;
  setting.other_value = value;
}

/** Leaf weights were CFQ's alone; a kernel without the file refuses them by its name. */
void PutLeafWeight(CgroupSettings& out, const std::string& field, const std::string& device, int64_t weight) {
  if (out.unified()) RefuseResource(field, "cgroup v2 has no leaf weights");
  out.Put(field, "blkio", device.empty() ? "blkio.leaf_weight" : "blkio.leaf_weight_device",
          (device.empty() ? "" : device + " ") + std::to_string(weight));
}

void PutThrottles(CgroupSettings& out, const json& block) {
  const struct {
    const char* key;
    const char* v1;
    const char* v2;
  } kinds[] = {{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"},
               {"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"},
               {"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"},
               {"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"}};
  for (const auto& [key, v1, v2] : kinds) {
    const std::string field = std::string("blockIO.") + key;
    for (const json& device : ArrayOr(block, key)) {
      const std::string numbers = Numbers(device, field);
      const auto rate = NumberOr(device, "rate", -1);
      if (rate < 0) RefuseResource(field, "needs a rate of at least 0; 0 lifts the limit");
      if (out.unified())
        out.Put(field, "io", "io.max", numbers + " " + v2 + "=" + (rate == 0 ? "max" : std::to_string(rate)));
      else
        out.Put(field, "blkio", v1, numbers + " " + std::to_string(rate));
    }
  }
}

}  // namespace

void PutBlockIo(CgroupSettings& out, const json& block) {
  const auto weight = WeightIn(block, "weight", "blockIO.weight");
  const auto leaf = WeightIn(block, "leafWeight", "blockIO.leafWeight");
  if (weight > 0) PutWeight(out, "blockIO.weight", "", weight);
  if (leaf > 0) PutLeafWeight(out, "blockIO.leafWeight", "", leaf);
  const std::string field = "blockIO.weightDevice";
  for (const json& device : ArrayOr(block, "weightDevice")) {
    const std::string numbers = Numbers(device, field);
    const auto own = WeightIn(device, "weight", field), own_leaf = WeightIn(device, "leafWeight", field);
    if (own > 0) PutWeight(out, field, numbers, own);
    if (own_leaf > 0) PutLeafWeight(out, field, numbers, own_leaf);
  }
  PutThrottles(out, block);
}

}  // namespace covey
