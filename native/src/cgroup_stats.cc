#include "cgroup_stats.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "cgroup.h"
#include "cgroup_files.h"

namespace covey {
namespace {

/** v1 writes "no limit" as the largest number of whole pages. */
constexpr uint64_t kNoLimit = 0x7fff'ffff'0000'0000;
constexpr uint64_t kNanosPerMicro = 1000;

std::optional<uint64_t> WholeNumber(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  return strtoull(text.c_str(), nullptr, 10);
}

uint64_t FlatOr0(const std::string& text, const std::string& key) {
  return FlatNumber(text, key).value_or(0);
}

std::optional<uint64_t> LimitIn(const std::string& text) {
  const auto number = WholeNumber(text);
  return number && *number < kNoLimit ? number : std::nullopt;
}

uint64_t Without(uint64_t all, uint64_t part) { return part < all ? all - part : 0; }

/** "hugetlb.2MB.END" files of a folder, for each page size of this host. */
std::vector<HugePageUse> HugePages(const std::string& folder, bool unified) {
  std::vector<HugePageUse> uses;
  if (folder.empty()) return uses;
  for (const std::string& name : FoldersIn("/sys/kernel/mm/hugepages")) {
    const uint64_t kilobytes = strtoull(name.c_str() + sizeof "hugepages-" - 1, nullptr, 10);
    const std::string size = kilobytes >= 1u << 20   ? std::to_string(kilobytes >> 20) + "GB"
                             : kilobytes >= 1u << 10 ? std::to_string(kilobytes >> 10) + "MB"
                                                     : std::to_string(kilobytes) + "KB";
    const std::string stem = folder + "/hugetlb." + size;
    const auto usage = WholeNumber(TryReadFile(stem + (unified ? ".current" : ".usage_in_bytes")));
    if (!usage) continue;
    const uint64_t hits = unified ? FlatOr0(TryReadFile(stem + ".events"), "max")
                                  : WholeNumber(TryReadFile(stem + ".failcnt")).value_or(0);
    uses.push_back({size, *usage, hits});
  }
  return uses;
}

void ReadV2(const std::string& folder, CgroupStats& stats) {
  const std::string cpu = ReadSmallFile(folder + "/cpu.stat");
  stats.cpu = {FlatOr0(cpu, "usage_usec") * kNanosPerMicro,
               FlatOr0(cpu, "user_usec") * kNanosPerMicro,
               FlatOr0(cpu, "system_usec") * kNanosPerMicro,
               FlatOr0(cpu, "nr_periods"),
               FlatOr0(cpu, "nr_throttled"),
               FlatOr0(cpu, "throttled_usec") * kNanosPerMicro};
  MemoryUse& memory = stats.memory;
  const std::string events = TryReadFile(folder + "/memory.events");
  memory.usage_bytes = WholeNumber(TryReadFile(folder + "/memory.current")).value_or(0);
  memory.working_set_bytes =
      Without(memory.usage_bytes, FlatOr0(TryReadFile(folder + "/memory.stat"), "inactive_file"));
  memory.limit_bytes = LimitIn(TryReadFile(folder + "/memory.max"));
  memory.peak_bytes = WholeNumber(TryReadFile(folder + "/memory.peak"));
  memory.swap_bytes = WholeNumber(TryReadFile(folder + "/memory.swap.current"));
  memory.limit_hits = FlatOr0(events, "max");
  memory.high_hits = FlatNumber(events, "high");
  memory.low_hits = FlatNumber(events, "low");
  memory.ooms = FlatNumber(events, "oom");
  memory.oom_kills = FlatOr0(events, "oom_kill");
  stats.pids = {WholeNumber(TryReadFile(folder + "/pids.current")).value_or(0),
                LimitIn(TryReadFile(folder + "/pids.max"))};
  stats.io = ParseIoStat(TryReadFile(folder + "/io.stat"));
  stats.huge_pages = HugePages(folder, true);
  stats.cpu_pressure = ParsePressure(TryReadFile(folder + "/cpu.pressure"));
  stats.memory_pressure = ParsePressure(TryReadFile(folder + "/memory.pressure"));
  stats.io_pressure = ParsePressure(TryReadFile(folder + "/io.pressure"));
}

void ReadCpuV1(const std::string& use, const std::string& quota, CpuUse& cpu) {
  cpu.usage_nanos = WholeNumber(ReadSmallFile(use + "/cpuacct.usage")).value_or(0);
  cpu.user_nanos = WholeNumber(TryReadFile(use + "/cpuacct.usage_user")).value_or(0);
  cpu.system_nanos = WholeNumber(TryReadFile(use + "/cpuacct.usage_sys")).value_or(0);
  const std::string stat = TryReadFile(quota + "/cpu.stat");
  cpu.periods = FlatOr0(stat, "nr_periods");
  cpu.throttled_periods = FlatOr0(stat, "nr_throttled");
  cpu.throttled_nanos = FlatOr0(stat, "throttled_time");
}

void ReadMemoryV1(const std::string& folder, MemoryUse& memory) {
  const std::string stat = TryReadFile(folder + "/memory.stat");
  memory.usage_bytes = WholeNumber(ReadSmallFile(folder + "/memory.usage_in_bytes")).value_or(0);
  memory.working_set_bytes = Without(memory.usage_bytes, FlatOr0(stat, "total_inactive_file"));
  memory.limit_bytes = LimitIn(TryReadFile(folder + "/memory.limit_in_bytes"));
  memory.peak_bytes = WholeNumber(TryReadFile(folder + "/memory.max_usage_in_bytes"));
  memory.swap_bytes = FlatNumber(stat, "total_swap");
  memory.oom_kills = FlatOr0(TryReadFile(folder + "/memory.oom_control"), "oom_kill");
  // With no swap allowed v1 counts no failure at all; a kill is one for certain.
  const uint64_t failures = WholeNumber(TryReadFile(folder + "/memory.failcnt")).value_or(0) +
                            WholeNumber(TryReadFile(folder + "/memory.memsw.failcnt")).value_or(0);
  memory.limit_hits = std::max(failures, memory.oom_kills);
}

void ReadV1(const CgroupLayout& layout, const std::string& path, CgroupStats& stats) {
  const auto folder = [&](const char* controller) { return layout.FolderOf(controller, path); };
  const std::string cpuacct = folder("cpuacct"), memory = folder("memory"), pids = folder("pids");
  if (!cpuacct.empty()) ReadCpuV1(cpuacct, folder("cpu"), stats.cpu);
  if (!memory.empty()) ReadMemoryV1(memory, stats.memory);
  if (!pids.empty()) {
    stats.pids = {WholeNumber(ReadSmallFile(pids + "/pids.current")).value_or(0),
                  LimitIn(TryReadFile(pids + "/pids.max"))};
  }
  const std::string blkio = folder("blkio");
  if (!blkio.empty()) {
    stats.io = ParseBlkio(TryReadFile(blkio + "/blkio.throttle.io_service_bytes_recursive"),
                          TryReadFile(blkio + "/blkio.throttle.io_serviced_recursive"));
  }
  stats.huge_pages = HugePages(folder("hugetlb"), false);
}

bool ReadPressureLine(const std::string& line, const char* kind, Pressure& out) {
  unsigned long long total = 0;
  const std::string shape = std::string(kind) + " avg10=%lf avg60=%lf avg300=%lf total=%llu";
  if (sscanf(line.c_str(), shape.c_str(), &out.avg10, &out.avg60, &out.avg300, &total) != 4) return false;
  out.total_micros = total;
  return true;
}

}  // namespace

std::optional<uint64_t> FlatNumber(const std::string& text, const std::string& key) {
  for (const std::string& line : SplitText(text, '\n')) {
    if (line.rfind(key + " ", 0) == 0) return WholeNumber(line.substr(key.size() + 1));
  }
  return std::nullopt;
}

std::vector<IoUse> ParseIoStat(const std::string& text) {
  std::vector<IoUse> uses;
  for (const std::string& line : SplitText(text, '\n')) {
    const std::vector<std::string> words = SplitText(line, ' ');
    if (words.size() < 2) continue;
    IoUse use{.device = words[0]};
    const std::map<std::string, uint64_t*> keys = {{"rbytes", &use.read_bytes},
                                                   {"wbytes", &use.write_bytes},
                                                   {"rios", &use.reads},
                                                   {"wios", &use.writes}};
    for (const std::string& word : words) {
      const size_t equals = word.find('=');
      const auto found = keys.find(word.substr(0, equals));
      if (equals != std::string::npos && found != keys.end())
        *found->second = strtoull(word.c_str() + equals + 1, nullptr, 10);
    }
    uses.push_back(use);
  }
  return uses;
}

std::vector<IoUse> ParseBlkio(const std::string& bytes, const std::string& operations) {
  std::map<std::string, IoUse> devices;
  const auto read = [&](const std::string& text, uint64_t IoUse::*reads, uint64_t IoUse::*writes) {
    for (const std::string& line : SplitText(text, '\n')) {
      const std::vector<std::string> words = SplitText(line, ' ');
      if (words.size() != 3) continue;
      IoUse& use = devices[words[0]];
      use.device = words[0];
      if (words[1] == "Read") use.*reads = WholeNumber(words[2]).value_or(0);
      if (words[1] == "Write") use.*writes = WholeNumber(words[2]).value_or(0);
    }
  };
  read(bytes, &IoUse::read_bytes, &IoUse::write_bytes);
  read(operations, &IoUse::reads, &IoUse::writes);
  std::vector<IoUse> uses;
  uses.reserve(devices.size());
  for (auto& [device, use] : devices) uses.push_back(use);
  return uses;
}

std::optional<Pressures> ParsePressure(const std::string& text) {
  Pressures found;
  bool some = false;
  for (const std::string& line : SplitText(text, '\n')) {
    Pressure full;
    if (ReadPressureLine(line, "some", found.some)) some = true;
    if (ReadPressureLine(line, "full", full)) found.full = full;
  }
  return some ? std::optional(found) : std::nullopt;
}

CgroupStats ReadCgroupStats(const std::string& path) {
  const CgroupLayout& layout = HostCgroups();
  CgroupStats stats;
  if (layout.unified)
    ReadV2(layout.unified_mount + path, stats);
  else
    ReadV1(layout, path, stats);
  return stats;
}

}  // namespace covey
