#include "cgroup_update.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "cgroup_files.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

/** "max", -1 and nothing at all are no limit. */
int64_t LimitOf(const std::string& text) {
  if (text.empty() || text[0] == 'm' || text[0] == '-') return kUnlimited;
  return static_cast<int64_t>(strtoull(text.c_str(), nullptr, 10));
}

std::vector<CgroupSetting>::iterator Find(std::vector<CgroupSetting>& list, const std::string& file) {
  return std::find_if(list.begin(), list.end(), [&](const CgroupSetting& s) { return s.file == file; });
}

/** `lesser` may never be above `greater`: whichever makes room goes first. Both values as they would become. */
void Order(std::vector<CgroupSetting>& list, const std::string& lesser, const std::string& greater,
           const ReadCurrent& current) {
  const auto low = Find(list, lesser), high = Find(list, greater);
  if (low == list.end() || high == list.end()) return;
  const bool greater_first = LimitOf(low->value) > LimitOf(current(high->Path()));
  if ((high < low) != greater_first) std::iter_swap(low, high);
}

/** What the caller left out but the kernel ties to what was given. */
json Completed(const json& resources, const CgroupLayout& layout, const std::string& path,
               const ReadCurrent& current) {
  json whole = resources;
  const json& memory = ObjectOr(resources, "memory");
  const auto limit = NumberOr(memory, "limit", 0), swap = NumberOr(memory, "swap", 0);
  const std::string folder = layout.FolderOf("memory", path);
  if (limit != 0 && swap == 0 && !layout.unified) {
    const std::string own = current(folder + "/memory.limit_in_bytes");
    const std::string both = current(folder + "/memory.memsw.limit_in_bytes");
    const bool has_swap = !both.empty() && LimitOf(own) != LimitOf(both);
    if (has_swap && (limit < 0 || limit > LimitOf(both)))
      RefuseResource("memory.limit",
                     "is above the limit of memory and swap in force; set memory.swap with it");
    // Equal limits mean no swap, and that stays so; otherwise the joint limit stays as it is.
    whole["memory"]["swap"] = !has_swap ? limit : LimitOf(both) == kUnlimited ? -1 : LimitOf(both);
    if (both.empty()) whole["memory"].erase("swap");
  }
  if (limit == 0 && swap > 0 && layout.unified) {
    const int64_t own = LimitOf(current(folder + "/memory.max"));
    if (own == kUnlimited)
      RefuseResource("memory.swap", "needs memory.limit: it is the sum of memory and swap");
    whole["memory"]["limit"] = own;
  }
  const json& cpu = ObjectOr(resources, "cpu");
  if (layout.unified && NumberOr(cpu, "period", 0) != 0 && NumberOr(cpu, "quota", 0) == 0) {
    const int64_t quota = LimitOf(current(layout.FolderOf("cpu", path) + "/cpu.max"));
    whole["cpu"]["quota"] = quota == kUnlimited ? -1 : quota;
  }
  return whole;
}

void CheckUse(const json& memory, const CgroupLayout& layout, const std::string& path,
              const ReadCurrent& current) {
  const auto limit = NumberOr(memory, "limit", 0);
  if (limit <= 0 || !FlagOr(memory, "checkBeforeUpdate", false)) return;
  const std::string file = layout.unified ? "/memory.current" : "/memory.usage_in_bytes";
  const std::string used = current(layout.FolderOf("memory", path) + file);
  if (strtoull(used.c_str(), nullptr, 10) > static_cast<uint64_t>(limit))
    RefuseResource("memory.limit", "is below what is in use: " +
                                       std::to_string(strtoull(used.c_str(), nullptr, 10)) + " bytes");
}

/** The text that brings a file back to what it said before, for files that do not take what they show. */
std::string Restorable(const CgroupSetting& setting, const std::string& before) {
  std::string first = before.substr(0, before.find('\n'));
  // These say "DEVICE …" a line; the device's own line is wanted, and no line means no limit.
  const bool in_words = setting.file == "io.max" || setting.file == "rdma.max";
  const bool by_device = in_words || setting.file == "net_prio.ifpriomap" ||
                         setting.file.rfind("blkio.throttle.", 0) == 0 ||
                         setting.file.find("weight_device") != std::string::npos;
  if (by_device) {
    const std::string device = setting.value.substr(0, setting.value.find(' '));
    for (const std::string& line : SplitText(before, '\n')) {
      if (line.rfind(device + " ", 0) == 0) return line;
    }
    if (setting.file == "rdma.max") return device + " hca_handle=max hca_object=max";
    return device + (in_words ? " rbps=max wbps=max riops=max wiops=max" : " 0");
  }
  if (setting.file == "memory.oom_control") return first.substr(first.rfind(' ') + 1);
  return first;
}

struct Undo {
  std::string path;
  std::string text;
};

/** The file of the two that this kernel has. */
CgroupSetting Present(CgroupSetting setting) {
  if (setting.other_file.empty() || PathExists(setting.Path())) return setting;
  setting.file = setting.other_file;
  setting.value = setting.other_value;
  return setting;
}

void Apply(const CgroupSetting& wanted, std::vector<Undo>& undo) {
  const CgroupSetting setting = Present(wanted);
  const std::string before = TryReadFile(setting.Path());
  try {
    WriteSmallFile(setting.Path(), setting.value);
  } catch (const SysError& e) {
    const bool is_lacking = e.error() == ENOENT || e.error() == EOPNOTSUPP;
    if (setting.mode == CgroupSetting::Mode::kOptional && is_lacking) return;
    throw SysError{e.error(), e.syscall(), setting.Path(), "setting a limit", "asked for: " + setting.value};
  }
  undo.push_back({setting.Path(), Restorable(setting, before)});
  if (setting.mode != CgroupSetting::Mode::kVerified) return;
  const uint64_t asked = strtoull(setting.value.c_str(), nullptr, 10);
  const uint64_t kept = strtoull(TryReadFile(setting.Path()).c_str(), nullptr, 10);
  if (kept > asked || asked - kept >= 65536)
    throw SysError{EOPNOTSUPP, "write", setting.Path(), "setting a limit", "this kernel does not keep it"};
}

}  // namespace

std::vector<CgroupSetting> PlanUpdate(const json& resources, const CgroupLayout& layout,
                                      const std::string& path, const ReadCurrent& current) {
  if (!ArrayOr(resources, "devices").empty())
    RefuseResource("devices", "cannot be changed while the container lives; make a new one");
  CheckUse(ObjectOr(resources, "memory"), layout, path, current);
  std::vector<CgroupSetting> list = SettingsOf(Completed(resources, layout, path, current), layout, path);
  Order(list, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", current);
  Order(list, "cpu.cfs_burst_us", "cpu.cfs_quota_us", current);
  Order(list, "cpu.max.burst", "cpu.max", current);
  return list;
}

void UpdateCgroup(const std::string& path, const std::string& text) {
  const CgroupLayout& layout = HostCgroups();
  const json resources = json::parse(text, nullptr, false);
  if (!resources.is_object()) throw InvalidInput("linux.resources", "is not a JSON object");
  if (!PathExists(layout.FolderOf("memory", path)))
    throw SysError{ENOENT, "open", path, "setting a limit", "there is no such cgroup"};
  std::vector<Undo> undo;
  try {
    for (const CgroupSetting& setting : PlanUpdate(resources, layout, path, TryReadFile))
      Apply(setting, undo);
  } catch (const SysError& failure) {
    std::string lost;
    for (auto last = undo.rbegin(); last != undo.rend(); ++last) {
      if (!TryWriteFile(last->path, last->text)) lost += " " + last->path;
    }
    if (lost.empty()) throw;
    throw SysError{failure.error(), failure.syscall(), failure.path(), failure.step(),
                   failure.detail() + "; not brought back to what they were:" + lost};
  }
}

}  // namespace covey
