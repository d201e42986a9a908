#include "cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <set>
#include <sstream>

#include "fd.h"
#include "process.h"
#include "sys_error.h"

namespace covey {
namespace {

// The controllers containers are placed in; others (net_cls, perf_event, …) are left to their users.
const std::set<std::string> kControllers = {"cpu",  "cpuacct", "cpuset",  "memory",
                                            "pids", "devices", "freezer", "blkio"};
constexpr int kKillRoundsMax = 200;
constexpr long kKillPauseNs = 2'000'000;

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

bool TryWrite(const std::string& path, const std::string& text) {
  try {
    WriteSmallFile(path, text);
    return true;
  } catch (const SysError&) {
    return false;
  }
}

std::string TryRead(const std::string& path) {
  try {
    return ReadSmallFile(path);
  } catch (const SysError&) {
    return "";
  }
}

void Mkdir(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) throw SysError{errno, "mkdir", path};
}

/** A v1 cpuset takes no process before it has cpus and memory nodes. */
void FillCpuset(const std::string& folder, const std::string& parent) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    const std::string own = TryRead(folder + name);
    if (own.empty() || own == "\n") TryWrite(folder + name, TryRead(parent + name));
  }
  TryWrite(folder + "/cgroup.clone_children", "1");
}

/** Each step of a path: /covey, /covey/abc. */
std::vector<std::string> Steps(const std::string& path) {
  std::vector<std::string> steps;
  std::string so_far;
  for (const std::string& part : Split(path, '/')) {
    if (part.empty()) continue;
    so_far += "/" + part;
    steps.push_back(so_far);
  }
  return steps;
}

std::vector<std::string> Children(const std::string& folder) {
  std::vector<std::string> names;
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(dir);
  return names;
}

/** SIGKILL to everything listed here and below; gives how many processes there were. */
int KillListed(const std::string& folder) {
  int count = 0;
  for (const std::string& name : Children(folder)) count += KillListed(folder + "/" + name);
  for (const std::string& line : Split(TryRead(folder + "/cgroup.procs"), '\n')) {
    const pid_t pid = static_cast<pid_t>(strtol(line.c_str(), nullptr, 10));
    if (pid <= 1 || pid == getpid()) continue;
    kill(pid, SIGKILL);
    count++;
  }
  return count;
}

void Pause() {
  const timespec pause{.tv_sec = 0, .tv_nsec = kKillPauseNs};
  nanosleep(&pause, nullptr);
}

/** rmdir bottom-up; false when a cgroup is still busy. */
bool RemoveFolder(const std::string& folder) {
  if (rmdir(folder.c_str()) == 0 || errno == ENOENT) return true;
  for (const std::string& name : Children(folder)) {
    if (!RemoveFolder(folder + "/" + name)) return false;
  }
  return rmdir(folder.c_str()) == 0 || errno == ENOENT;
}

uint64_t NumberAfter(const std::string& text, const std::string& key) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(key + " ", 0) == 0) return strtoull(line.c_str() + key.size() + 1, nullptr, 10);
  }
  return 0;
}

uint64_t NumberIn(const std::string& path) { return strtoull(ReadSmallFile(path).c_str(), nullptr, 10); }

}  // namespace

bool CgroupLayout::Hierarchy::Has(const std::string& controller) const {
  return std::find(controllers.begin(), controllers.end(), controller) != controllers.end();
}

std::vector<std::string> CgroupLayout::FoldersOf(const std::string& path) const {
  std::vector<std::string> folders;
  if (unified) return {unified_mount + path};
  folders.reserve(v1.size());
  for (const Hierarchy& h : v1) folders.push_back(h.mount + path);
  return folders;
}

std::string CgroupLayout::FolderOf(const std::string& controller, const std::string& path) const {
  if (unified) return unified_mount + path;
  for (const Hierarchy& h : v1) {
    if (h.Has(controller)) return h.mount + path;
  }
  return "";
}

CgroupLayout ParseMountInfo(const std::string& text) {
  CgroupLayout layout;
  for (const std::string& line : Split(text, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> before = Split(line.substr(0, dash), ' ');
    const std::vector<std::string> after = Split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (after[0] == "cgroup2" && layout.unified_mount.empty()) layout.unified_mount = before[4];
    if (after[0] != "cgroup") continue;
    CgroupLayout::Hierarchy hierarchy{.mount = before[4], .controllers = {}};
    for (const std::string& option : Split(after[2], ',')) {
      if (kControllers.count(option) > 0) hierarchy.controllers.push_back(option);
    }
    const bool seen = std::any_of(layout.v1.begin(), layout.v1.end(), [&](const CgroupLayout::Hierarchy& h) {
      return h.controllers == hierarchy.controllers;
    });
    if (!hierarchy.controllers.empty() && !seen) layout.v1.push_back(hierarchy);
  }
  layout.unified = layout.v1.empty() && !layout.unified_mount.empty();
  return layout;
}

const CgroupLayout& HostCgroups() {
  static const CgroupLayout layout = [] {
    CgroupLayout found = ParseMountInfo(ReadSmallFile("/proc/self/mountinfo"));
    if (found.v1.empty() && !found.unified) {
      throw SysError{ENOENT, "mountinfo", "/sys/fs/cgroup", "", "no cgroup file system is mounted"};
    }
    return found;
  }();
  return layout;
}

void EnsureCgroupParent(const std::string& path) {
  const CgroupLayout& layout = HostCgroups();
  if (layout.unified) {
    std::string above = layout.unified_mount;
    for (const std::string& step : Steps(path)) {
      Mkdir(layout.unified_mount + step);
      above = layout.unified_mount + step;
    }
    std::string place = layout.unified_mount;
    // From the top down, because a controller can only be handed on where it was handed to. Each by itself: a host may
    // lack one, and one that is refused must not take the others with it.
    std::vector<std::string> chain{place};
    for (const std::string& step : Steps(path)) chain.push_back(layout.unified_mount + step);
    for (const std::string& folder : chain) {
      for (const char* controller : {"+cpu", "+cpuset", "+memory", "+pids", "+io"}) {
        TryWrite(folder + "/cgroup.subtree_control", controller);
      }
    }
    return;
  }
  for (const CgroupLayout::Hierarchy& h : layout.v1) {
    std::string above = h.mount;
    for (const std::string& step : Steps(path)) {
      const std::string folder = h.mount + step;
      if (!Exists(folder)) {
        Mkdir(folder);
        if (h.Has("cpuset")) FillCpuset(folder, above);
      }
      above = folder;
    }
  }
}

void KillCgroup(const std::string& path) {
  const CgroupLayout& layout = HostCgroups();
  const std::string folder = layout.FolderOf("freezer", path);
  if (folder.empty() || !Exists(folder)) return;
  if (TryWrite(folder + "/cgroup.kill", "1")) return;
  for (int round = 0; round < kKillRoundsMax; round++) {
    TryWrite(folder + "/freezer.state", "FROZEN");
    const int count = KillListed(folder);
    TryWrite(folder + "/freezer.state", "THAWED");
    if (count == 0) return;
    Pause();
  }
}

void RemoveCgroup(const std::string& path) {
  if (Steps(path).empty()) throw InvalidInput("cgroup", "the root cgroup cannot be removed");
  KillCgroup(path);
  for (const std::string& folder : HostCgroups().FoldersOf(path)) {
    for (int round = 0; !RemoveFolder(folder); round++) {
      if (round == kKillRoundsMax) throw SysError{EBUSY, "rmdir", folder};
      KillListed(folder);
      Pause();
    }
  }
}

std::vector<std::string> ListCgroups(const std::string& path) {
  std::set<std::string> names;
  for (const std::string& folder : HostCgroups().FoldersOf(path)) {
    for (const std::string& name : Children(folder)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

CgroupStats ReadCgroupStats(const std::string& path) {
  const CgroupLayout& layout = HostCgroups();
  CgroupStats stats;
  const std::string memory = layout.FolderOf("memory", path);
  if (layout.unified) {
    stats.cpu_nanos = NumberAfter(ReadSmallFile(memory + "/cpu.stat"), "usage_usec") * 1000;
    stats.memory_bytes = strtoull(TryRead(memory + "/memory.current").c_str(), nullptr, 10);
    stats.pids = strtoull(TryRead(memory + "/pids.current").c_str(), nullptr, 10);
    stats.oom_kills = NumberAfter(TryRead(memory + "/memory.events"), "oom_kill");
    return stats;
  }
  stats.cpu_nanos = NumberIn(layout.FolderOf("cpuacct", path) + "/cpuacct.usage");
  stats.memory_bytes = NumberIn(memory + "/memory.usage_in_bytes");
  stats.pids = NumberIn(layout.FolderOf("pids", path) + "/pids.current");
  stats.oom_kills = NumberAfter(TryRead(memory + "/memory.oom_control"), "oom_kill");
  return stats;
}

void EnterCgroup(const std::string& path) {
  EnsureCgroupParent(path);
  for (const std::string& folder : HostCgroups().FoldersOf(path)) {
    WriteSmallFile(folder + "/cgroup.procs", "0");
  }
}

}  // namespace covey
