// What a cgroup has used, the same on v1 and v2. Source: kernel docs, cgroup-v1/{cpuacct,memory,blkio-controller},
// cgroup-v2, accounting/psi.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace covey {

struct CpuUse {
  uint64_t usage_nanos = 0;
  uint64_t user_nanos = 0;
  uint64_t system_nanos = 0;
  /** Periods of the quota that passed, those in which it ran out, and the time that was waited for the next. */
  uint64_t periods = 0;
  uint64_t throttled_periods = 0;
  uint64_t throttled_nanos = 0;
};

struct MemoryUse {
  uint64_t usage_bytes = 0;
  /** Without the page cache that the kernel would give up first. */
  uint64_t working_set_bytes = 0;
  std::optional<uint64_t> limit_bytes;
  /** Empty where the kernel counts none. */
  std::optional<uint64_t> peak_bytes;
  std::optional<uint64_t> swap_bytes;
  /** How often the limit was met; the kernel may have found room. On v1 without swap only kills are counted. */
  uint64_t limit_hits = 0;
  /** v2 only: how often it was above memory.high, or below memory.low and squeezed all the same. */
  std::optional<uint64_t> high_hits;
  std::optional<uint64_t> low_hits;
  /** How often no room was found; empty on v1. */
  std::optional<uint64_t> ooms;
  /** Processes that the OOM killer has killed in it. */
  uint64_t oom_kills = 0;
};

struct PidsUse {
  uint64_t count = 0;
  std::optional<uint64_t> limit;
};

struct IoUse {
  /** "MAJOR:MINOR" */
  std::string device;
  uint64_t read_bytes = 0;
  uint64_t write_bytes = 0;
  uint64_t reads = 0;
  uint64_t writes = 0;
};

struct HugePageUse {
  /** As the kernel names it: "2MB". */
  std::string page_size;
  uint64_t usage_bytes = 0;
  uint64_t limit_hits = 0;
};

/** Shares of time, in percent, in which tasks waited, and the sum. */
struct Pressure {
  double avg10 = 0;
  double avg60 = 0;
  double avg300 = 0;
  uint64_t total_micros = 0;
};

/** One line of a *.pressure file each; `full` is empty where the kernel writes none. */
struct Pressures {
  Pressure some;
  std::optional<Pressure> full;
};

struct CgroupStats {
  CpuUse cpu;
  MemoryUse memory;
  PidsUse pids;
  std::vector<IoUse> io;
  std::vector<HugePageUse> huge_pages;
  /** Empty where the kernel does not count it: on v1, and with psi=0. */
  std::optional<Pressures> cpu_pressure;
  std::optional<Pressures> memory_pressure;
  std::optional<Pressures> io_pressure;
};

/** Throws SysError ENOENT when there is no such cgroup. A controller the host lacks leaves its part zero or empty. */
CgroupStats ReadCgroupStats(const std::string& path);

/** The number behind `key` in text of "key number" lines; empty when it is not there. For tests, as the next ones. */
std::optional<uint64_t> FlatNumber(const std::string& text, const std::string& key);

/** io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …". Devices that did nothing may be missing. */
std::vector<IoUse> ParseIoStat(const std::string& text);

/** blkio.throttle.io_service_bytes and io_serviced: "8:0 Read 1" lines. */
std::vector<IoUse> ParseBlkio(const std::string& bytes, const std::string& operations);

/** "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and perhaps the same with "full". Empty for no such text. */
std::optional<Pressures> ParsePressure(const std::string& text);

}  // namespace covey
