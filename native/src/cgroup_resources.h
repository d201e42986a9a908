// linux.resources of an OCI config as values in cgroup files: the one translation that both creation and update use.
// One .cc file per group of controllers. Source: OCI runtime-spec config-linux.md, "Control groups"; kernel docs,
// cgroup-v1 and cgroup-v2.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cgroup.h"

namespace covey {

/** One value for one file of a container's cgroup. */
struct CgroupSetting {
  enum class Mode {
    kMust = SETTING_MUST,
    /** Not every kernel has the file, and without it nothing is less closed. */
    kOptional = SETTING_OPTIONAL,
    /** Some kernels take the value and forget it: it must read back as written, but for rounding to pages. */
    kVerified = SETTING_VERIFIED,
  };
  /** Absolute, without a slash at its end. */
  std::string folder;
  std::string file;
  std::string value;
  Mode mode = Mode::kMust;
  /** Tried where the kernel lacks `file`; "" = none. */
  std::string other_file;
  std::string other_value;

  std::string Path() const { return folder + "/" + file; }
};

/** Collects the settings of one cgroup, in the order in which they must be written. */
class CgroupSettings {
 public:
  /** Both must outlive this object. */
  CgroupSettings(const CgroupLayout& layout, const std::string& path) : layout_(layout), path_(path) {}

  bool unified() const { return layout_.unified; }
  /** `field` is below linux.resources. Throws InvalidInput naming it when the host lacks the controller. */
  CgroupSetting& Put(const std::string& field, const std::string& controller, const std::string& file,
                     const std::string& value);
  const std::vector<CgroupSetting>& list() const { return list_; }

 private:
  const CgroupLayout& layout_;
  const std::string& path_;
  std::vector<CgroupSetting> list_;
};

/** "linux.resources.FIELD WHY" as an InvalidInput. */
[[noreturn]] void RefuseResource(const std::string& field, const std::string& why);

void PutMemory(CgroupSettings& out, const nlohmann::json& memory);
void PutCpu(CgroupSettings& out, const nlohmann::json& cpu);
void PutBlockIo(CgroupSettings& out, const nlohmann::json& block);
/** pids, hugepageLimits, network, rdma and the unified map. */
void PutOthers(CgroupSettings& out, const nlohmann::json& resources);

/** cpu.weight for v1 shares: 2 is 1, the default 1024 the default 100, 262144 10000. Source: opencontainers/cgroups. */
uint64_t WeightOfShares(uint64_t shares);

/** All settings of linux.resources but the devices. Throws InvalidInput for what this host or its cgroup version lacks. */
std::vector<CgroupSetting> SettingsOf(const nlohmann::json& resources, const CgroupLayout& layout,
                                      const std::string& path);

}  // namespace covey
