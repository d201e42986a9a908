#include "oci_namespaces.h"

#include <sched.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oci_reader.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace covey {
namespace {

using nlohmann::json;

const std::map<std::string, int> kTypes = {
    {"pid", CLONE_NEWPID},  {"network", CLONE_NEWNET}, {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},
    {"mount", CLONE_NEWNS}, {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME},
};

/** "monotonic 5 0\nboottime -3 0\n": what timens_offsets takes. Source: time_namespaces(7). */
std::string TimeOffsets(const json& offsets) {
  std::string lines;
  for (const auto& [clock, offset] : offsets.items()) {
    const std::string field = "linux.timeOffsets." + clock;
    if (clock != "monotonic" && clock != "boottime")
      throw InvalidInput(field, "is not a clock of a time namespace: monotonic and boottime are");
    if (!offset.is_object()) throw InvalidInput(field, "must be an object");
    const int64_t nanos = NumberOr(offset, "nanosecs", 0);
    if (nanos < 0 || nanos > 999'999'999) throw InvalidInput(field + ".nanosecs", "must be 0 to 999999999");
    lines += clock + " " + std::to_string(NumberOr(offset, "secs", 0)) + " " + std::to_string(nanos) + "\n";
  }
  return lines;
}

void RefuseWithout(bool own, bool is_set, const std::string& field, const std::string& type) {
  if (!own && is_set)
    throw InvalidInput(field,
                       "needs a " + type + " namespace of the container's own: it would change the host's");
}

}  // namespace

Namespaces::Namespaces(const json& config) {
  const json& linux = ObjectOr(config, "linux");
  for (const json& item : ArrayOr(linux, "namespaces")) {
    const std::string type = TextOr(item, "type", ""), path = TextOr(item, "path", "");
    const std::string field = "linux.namespaces." + type;
    const auto found = kTypes.find(type);
    if (found == kTypes.end()) throw InvalidInput(field, "is not a type of namespace that this core knows");
    if (!Shares(found->second)) throw InvalidInput(field, "is there twice");
    if (path.empty()) {
      made_ |= static_cast<uint64_t>(found->second);
    } else {
      if (path[0] != '/') throw InvalidInput(field + ".path", "\"" + path + "\" is not absolute");
      joined_[found->second] = path;
    }
  }
  const bool has_maps = !ArrayOr(linux, "uidMappings").empty() || !ArrayOr(linux, "gidMappings").empty();
  if (Shares(CLONE_NEWUSER)) {
    if (has_maps)
      throw InvalidInput("linux.namespaces", "user is needed by linux.uidMappings and gidMappings");
  } else {
    // Also of one that is joined: files are given to its ids, and the shim proves that they are these.
    ids_ = Ids{IdMap(ArrayOr(linux, "uidMappings"), "linux.uidMappings"),
               IdMap(ArrayOr(linux, "gidMappings"), "linux.gidMappings")};
    HostUid(0, "linux.uidMappings");
    HostGid(0, "linux.gidMappings");
  }
  if (ids_ && Shares(CLONE_NEWNS))
    throw InvalidInput("linux.namespaces",
                       "mount is needed with a user namespace, from which the host's mounts cannot be made");
  if (Makes(CLONE_NEWUSER) && Joins(CLONE_NEWNS))
    throw InvalidInput("linux.namespaces.mount",
                       "cannot be joined from a new user namespace: join its owner too");
  time_offsets_ = TimeOffsets(ObjectOr(linux, "timeOffsets"));
  RefuseWithout(Makes(CLONE_NEWTIME), !time_offsets_.empty(), "linux.timeOffsets", "time");
  RefuseWithout(!Shares(CLONE_NEWUTS), !TextOr(config, "hostname", "").empty(), "hostname", "uts");
  RefuseWithout(!Shares(CLONE_NEWUTS), !TextOr(config, "domainname", "").empty(), "domainname", "uts");
}

bool Namespaces::Makes(int flag) const { return (made_ & static_cast<uint64_t>(flag)) != 0; }

bool Namespaces::Joins(int flag) const { return joined_.count(flag) != 0; }

uint32_t Namespaces::HostUid(uint32_t uid, const std::string& what) const {
  return ids_ ? ids_->uids.HostId(uid, what) : uid;
}

uint32_t Namespaces::HostGid(uint32_t gid, const std::string& what) const {
  return ids_ ? ids_->gids.HostId(gid, what) : gid;
}

void Namespaces::Plan(PlanWriter& plan, const CgroupLayout& layout, const std::string& cgroup) const {
  plan.Op(PLAN_CLONE_FLAGS).Number(made_ & ~uint64_t{CLONE_NEWTIME});
  for (const auto& [flag, path] : joined_)
    plan.Op(PLAN_JOIN, "linux.namespaces.path").Text(path).Number(static_cast<uint64_t>(flag));
  if (Makes(CLONE_NEWTIME)) plan.Op(PLAN_TIME_OFFSETS).Text(time_offsets_);
  if (!Makes(CLONE_NEWPID)) {
    const std::string folder = layout.FolderOf("freezer", cgroup);
    if (folder.empty())
      throw InvalidInput("linux.namespaces.pid",
                         "must be the container's own on this host, which has no freezer controller");
    plan.Op(PLAN_KILL_DIR).Text(folder);
  }
  if (!ids_) return;
  plan.Op(PLAN_ID_MAP).Text("uid_map").Text(ids_->uids.Lines());
  plan.Op(PLAN_ID_MAP).Text("gid_map").Text(ids_->gids.Lines());
}

std::string SysctlPath(const std::string& key, const Namespaces& namespaces) {
  std::string path = key;
  std::replace(path.begin(), path.end(), '.', '/');
  const std::string field = "linux.sysctl." + key;
  const bool net = path.rfind("net/", 0) == 0;
  const bool ipc = path.rfind("kernel/msg", 0) == 0 || path.rfind("kernel/shm", 0) == 0 ||
                   path == "kernel/sem" || path.rfind("fs/mqueue/", 0) == 0;
  const bool uts = path == "kernel/domainname";
  if ((!net && !ipc && !uts) || path.find("//") != std::string::npos ||
      path.find("/../") != std::string::npos) {
    throw InvalidInput(field, "is not kept per container: only net.*, the IPC ones and fs.mqueue.* are");
  }
  RefuseWithout(!net || !namespaces.Shares(CLONE_NEWNET), true, field, "network");
  RefuseWithout(!ipc || !namespaces.Shares(CLONE_NEWIPC), true, field, "ipc");
  RefuseWithout(!uts || !namespaces.Shares(CLONE_NEWUTS), true, field, "uts");
  return path;
}

}  // namespace covey
