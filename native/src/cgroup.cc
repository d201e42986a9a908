#include "cgroup.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <set>

#include "cgroup_files.h"
#include "fd.h"

namespace covey {
namespace {

// The controllers containers are placed in; others (perf_event, misc, …) are left to their users.
const std::set<std::string> kControllers = {"cpu",     "cpuacct", "cpuset",  "memory",   "pids", "devices",
                                            "freezer", "blkio",   "hugetlb", "net_prio", "rdma", "net_cls"};
// What dies under a small quota of CPU time waits for it, some milliseconds of each period and process.
constexpr std::chrono::seconds kRemoveTimeout{20};

void Mkdir(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) throw SysError{errno, "mkdir", path};
}

/** A v1 cpuset takes no process before it has cpus and memory nodes. */
void FillCpuset(const std::string& folder, const std::string& parent) {
  for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
    const std::string own = TryReadFile(folder + name);
    if (own.empty() || own == "\n") TryWriteFile(folder + name, TryReadFile(parent + name));
  }
  TryWriteFile(folder + "/cgroup.clone_children", "1");
}

/** Each step of a path: /covey, /covey/abc. */
std::vector<std::string> Steps(const std::string& path) {
  std::vector<std::string> steps;
  std::string so_far;
  for (const std::string& part : SplitText(path, '/')) {
    if (part.empty()) continue;
    so_far += "/" + part;
    steps.push_back(so_far);
  }
  return steps;
}

/** rmdir bottom-up; false when a cgroup is still busy. */
bool RemoveFolder(const std::string& folder) {
  if (rmdir(folder.c_str()) == 0 || errno == ENOENT) return true;
  for (const std::string& name : FoldersIn(folder)) {
    if (!RemoveFolder(folder + "/" + name)) return false;
  }
  return rmdir(folder.c_str()) == 0 || errno == ENOENT;
}

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
  for (const std::string& line : SplitText(text, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> before = SplitText(line.substr(0, dash), ' ');
    const std::vector<std::string> after = SplitText(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    if (after[0] == "cgroup2" && layout.unified_mount.empty()) layout.unified_mount = before[4];
    if (after[0] != "cgroup") continue;
    CgroupLayout::Hierarchy hierarchy{.mount = before[4], .controllers = {}};
    for (const std::string& option : SplitText(after[2], ',')) {
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

void HandControllersOn(const std::string& folder) {
  // Each by itself: a host may lack one, and one that is refused must not take the others with it.
  for (const char* controller : {"+cpu", "+cpuset", "+memory", "+pids", "+io", "+hugetlb", "+rdma"}) {
    TryWriteFile(folder + "/cgroup.subtree_control", controller);
  }
}

void EnsureCgroupParent(const std::string& path) {
  const CgroupLayout& layout = HostCgroups();
  if (layout.unified) {
    for (const std::string& step : Steps(path)) Mkdir(layout.unified_mount + step);
    // From the top down, because a controller can only be handed on where it was handed to.
    HandControllersOn(layout.unified_mount);
    for (const std::string& step : Steps(path)) HandControllersOn(layout.unified_mount + step);
    return;
  }
  for (const CgroupLayout::Hierarchy& h : layout.v1) {
    std::string above = h.mount;
    for (const std::string& step : Steps(path)) {
      const std::string folder = h.mount + step;
      if (!PathExists(folder)) {
        Mkdir(folder);
        if (h.Has("cpuset")) FillCpuset(folder, above);
      }
      above = folder;
    }
  }
}

void RemoveCgroup(const std::string& path) {
  if (Steps(path).empty()) throw InvalidInput("cgroup", "the root cgroup cannot be removed");
  const std::vector<std::string> folders = HostCgroups().FoldersOf(path);
  // Mostly nobody is left in it. Where the freezer's is not empty, nothing is removed that killing needs.
  const std::string freezer = HostCgroups().FolderOf("freezer", path);
  if (!freezer.empty() && rmdir(freezer.c_str()) != 0 && errno != ENOENT) KillCgroup(path);
  const auto deadline = std::chrono::steady_clock::now() + kRemoveTimeout;
  for (const std::string& folder : folders) {
    while (!RemoveFolder(folder)) {
      if (std::chrono::steady_clock::now() > deadline) throw SysError{EBUSY, "rmdir", folder};
      // In this hierarchy may be one that never reached the freezer's.
      KillBelow(folder);
      PauseBriefly();
    }
  }
}

std::vector<std::string> ListCgroups(const std::string& path) {
  std::set<std::string> names;
  for (const std::string& folder : HostCgroups().FoldersOf(path)) {
    for (const std::string& name : FoldersIn(folder)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

}  // namespace covey
