// Control groups of the host: where they are mounted, a container's folders and limits in them, and their end.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "plan_writer.h"

namespace covey {

/** How this host mounts cgroups; read from /proc/self/mountinfo. */
struct CgroupLayout {
  struct Hierarchy {
    std::string mount;                     // such as /sys/fs/cgroup/memory
    std::vector<std::string> controllers;  // such as cpu, cpuacct when mounted together
    bool Has(const std::string& controller) const;
  };
  /** Pure v2. False on v1 and hybrid hosts, where the unified mount has no useful controller. */
  bool unified = false;
  std::string unified_mount;  // "" when there is none
  std::vector<Hierarchy> v1;  // only the controllers Covey uses

  /** Every folder that is, or would be, the cgroup `path` (absolute, such as /covey/abc). */
  std::vector<std::string> FoldersOf(const std::string& path) const;
  /** The folder of one v1 controller, or of the unified cgroup, which has them all; "" when the host lacks it. */
  std::string FolderOf(const std::string& controller, const std::string& path) const;
};

/** The layout of this host; read once. Throws SysError ENOENT when no cgroup is mounted. */
const CgroupLayout& HostCgroups();

/** Parses mountinfo; for tests. Source: proc(5). */
CgroupLayout ParseMountInfo(const std::string& text);

/** Makes `path` and its parents ready to hold containers: cpuset filled, v2 controllers switched on. Idempotent. */
void EnsureCgroupParent(const std::string& path);

/** v2: lets the cgroups below a folder have the controllers that it has itself; from then on it takes no process. */
void HandControllersOn(const std::string& folder);

/** Writes folders, limits, device rules and entry of a container's cgroup into a plan. `resources` is linux.resources. */
void PlanCgroup(PlanWriter& plan, const CgroupLayout& layout, const std::string& path,
                const nlohmann::json& resources);

/** Kills every process in the cgroup and below it, also one that stands still. Nothing happens when there is none. */
void KillCgroup(const std::string& path);

/**
 * Sends a signal to every process in the cgroup and below it, once: one that is born meanwhile may miss it. SIGKILL misses
 * none. Nothing happens when there is no such cgroup. Throws SysError (EINVAL: no such signal).
 */
void SignalCgroup(const std::string& path, int number);

/**
 * Stops every process in the cgroup where it stands; returns when all do. Throws SysError: ENOENT when there is no such
 * cgroup, ETIMEDOUT when they do not stop in 10 s; then they run again.
 */
void PauseCgroup(const std::string& path);

/** Lets them run again. Nothing happens when they do. Throws SysError. */
void ResumeCgroup(const std::string& path);

/** Whether PauseCgroup was called last. False when there is no such cgroup. */
bool IsCgroupPaused(const std::string& path);

/** Kills, then removes the cgroup and everything below it from every hierarchy. Idempotent. Throws SysError EBUSY when
 * processes do not die in time. */
void RemoveCgroup(const std::string& path);

/** Names of the cgroups directly below `path`, from all hierarchies, each once. */
std::vector<std::string> ListCgroups(const std::string& path);

}  // namespace covey
