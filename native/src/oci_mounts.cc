#include "oci_mounts.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "mount_options.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr uint64_t kMountReadOnly = 0x1;  // MOUNT_ATTR_RDONLY

/** Whether a file system belongs to a namespace that the container's user namespace does not own. */
bool IsMountedOutside(const std::string& type, const std::string& target, const Namespaces& namespaces) {
  if (!namespaces.ids()) return false;
  const auto foreign = [&](int flag) {
    return namespaces.Shares(flag) || (namespaces.Makes(CLONE_NEWUSER) && namespaces.Joins(flag));
  };
  // Nodes of a file system made inside would not work.
  if (type == "tmpfs" && target == "/dev") return true;
  if (type == "sysfs") return foreign(CLONE_NEWNET);
  if (type == "mqueue") return foreign(CLONE_NEWIPC);
  if (type == "proc" && foreign(CLONE_NEWPID) && namespaces.Joins(CLONE_NEWPID))
    throw InvalidInput("linux.namespaces.pid",
                       "cannot be joined from a new user namespace: join its owner too");
  return type == "proc" && foreign(CLONE_NEWPID);
}

void PlanBind(PlanWriter& plan, const std::string& source, const std::string& target, const MountOptions& o,
              bool outside, const std::optional<Ids>& ids = std::nullopt) {
  uint64_t flags = outside || o.propagation & MS_SHARED ? BIND_OUTSIDE : 0;
  if (o.recursive) flags |= BIND_RECURSIVE;
  if (o.idmap || ids) flags |= BIND_IDMAP;
  if (o.idmap_recursive) flags |= BIND_IDMAP_RECURSIVE;
  plan.Op(PLAN_BIND, "mounts").Text(source).Text(target).Number(o.top.set).Number(o.top.clear).Number(flags);
  plan.Number(o.propagation).Number(o.below.set).Number(o.below.clear);
  plan.Text(ids ? ids->uids.Lines() : "").Text(ids ? ids->gids.Lines() : "");
}

void PlanFileSystem(PlanWriter& plan, const std::string& type, const std::string& source,
                    const std::string& target, const MountOptions& o, bool outside = false) {
  uint64_t flags = outside ? MOUNT_OUTSIDE : 0;
  if (o.copy_up) flags |= MOUNT_COPY_UP;
  plan.Op(PLAN_MOUNT, "mounts").Text(type).Text(source).Text(target).Number(o.top.set | o.below.set);
  plan.List(o.data).Number(o.propagation).Number(flags);
}

void PlanRemount(PlanWriter& plan, const std::string& target, const MountOptions& o) {
  plan.Op(PLAN_REMOUNT, "mounts").Text(target).Number(o.top.set).Number(o.top.clear);
  plan.Number(o.below.set).Number(o.below.clear);
}

/** /sys/fs/cgroup: the unified tree, or on v1 a tmpfs with the container's own part of each hierarchy. */
void PlanCgroupMount(PlanWriter& plan, const CgroupLayout& layout, const std::string& cgroup,
                     const std::string& target, const MountOptions& asked, bool outside) {
  if (layout.unified) {
    MountOptions o = asked;
    o.data.clear();
    PlanFileSystem(plan, "cgroup2", "cgroup", target, o);
    return;
  }
  MountOptions folder = asked;
  folder.top.set &= ~kMountReadOnly;
  folder.data = {"mode=755", "size=64k"};
  PlanFileSystem(plan, "tmpfs", "tmpfs", target, folder);
  for (const CgroupLayout::Hierarchy& h : layout.v1) {
    MountOptions o = asked;
    o.data.clear();
    const std::string name = h.mount.substr(h.mount.rfind('/') + 1);
    PlanBind(plan, h.mount + cgroup, target + "/" + name, o, outside);
    // `cpu` beside `cpu,cpuacct`: programs look for one controller by its name.
    for (size_t at = 0, end = 0; name.find(',') != std::string::npos && end != std::string::npos;
         at = end + 1) {
      end = name.find(',', at);
      plan.Op(PLAN_LINK).Text(name).Text(target + "/" + name.substr(at, end - at));
    }
  }
  if (asked.top.set & kMountReadOnly) {
    MountOptions read_only;
    read_only.top.set = kMountReadOnly;
    PlanRemount(plan, target, read_only);
  }
}

void PlanDevices(PlanWriter& plan, const json& config, const Namespaces& namespaces) {
  const struct {
    const char* path;
    unsigned major, minor;
  } standard[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                  {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
  std::vector<std::string> own;
  for (const json& device : ArrayOr(ObjectOr(config, "linux"), "devices")) {
    const std::string path = TextOr(device, "path", ""), type = TextOr(device, "type", "");
    const std::map<std::string, mode_t> types = {
        {"c", S_IFCHR}, {"u", S_IFCHR}, {"b", S_IFBLK}, {"p", S_IFIFO}};
    const auto kind = types.find(type);
    if (kind == types.end()) throw InvalidInput("linux.devices.type", "must be c, u, b or p");
    if (path.rfind("/dev/", 0) != 0) throw InvalidInput("linux.devices.path", "must be below /dev");
    own.push_back(path);
    plan.Op(PLAN_NODE, "linux.devices").Text(path);
    plan.Number(kind->second | static_cast<mode_t>(NumberOr(device, "fileMode", 0666)));
    plan.Number(static_cast<uint64_t>(NumberOr(device, "major", 0)));
    plan.Number(static_cast<uint64_t>(NumberOr(device, "minor", 0)));
    plan.Number(namespaces.HostUid(static_cast<uint32_t>(NumberOr(device, "uid", 0)), "linux.devices.uid"));
    plan.Number(namespaces.HostGid(static_cast<uint32_t>(NumberOr(device, "gid", 0)), "linux.devices.gid"));
  }
  for (const auto& node : standard) {
    if (std::find(own.begin(), own.end(), node.path) != own.end()) continue;
    plan.Op(PLAN_NODE)
        .Text(node.path)
        .Number(S_IFCHR | 0666)
        .Number(node.major)
        .Number(node.minor)
        .Number(namespaces.HostUid(0, "linux.uidMappings"))
        .Number(namespaces.HostGid(0, "linux.gidMappings"));
  }
  const char* const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                  {"/proc/self/fd/0", "/dev/stdin"},
                                  {"/proc/self/fd/1", "/dev/stdout"},
                                  {"/proc/self/fd/2", "/dev/stderr"},
                                  {"pts/ptmx", "/dev/ptmx"}};
  for (const auto& link : links) plan.Op(PLAN_LINK).Text(link[0]).Text(link[1]);
}

}  // namespace

namespace {

/** The ids a bind is shown through: its own maps, else none of its own. */
std::optional<Ids> OwnMaps(const json& mount, const std::string& target) {
  const json &uids = ArrayOr(mount, "uidMappings"), &gids = ArrayOr(mount, "gidMappings");
  if (uids.empty() && gids.empty()) return std::nullopt;
  const std::string field = "mounts." + target;
  return Ids{IdMap(uids, field + ".uidMappings"), IdMap(gids, field + ".gidMappings")};
}

void PlanMountOf(PlanWriter& plan, const json& mount, const std::string& target,
                 const Namespaces& namespaces) {
  const std::string source = TextOr(mount, "source", ""), type = TextOr(mount, "type", "");
  MountOptions options = SortMountOptions(TextsOr(mount, "options"));
  const std::string field = "mounts." + target;
  const std::optional<Ids> maps = OwnMaps(mount, target);
  if (options.remount) {
    PlanRemount(plan, target, options);
  } else if (options.bind || type == "bind") {
    if (source.empty() || source[0] != '/')
      throw InvalidInput("mounts.source", "\"" + source + "\" is not absolute");
    if (!options.data.empty())
      throw InvalidInput(field + ".options", "a bind knows no \"" + options.data[0] + "\"");
    if (options.copy_up) throw InvalidInput(field + ".options", "tmpcopyup is for tmpfs only");
    if (options.idmap && !maps && !namespaces.ids())
      throw InvalidInput(field + ".options", "idmap needs a user namespace, or uidMappings and gidMappings");
    PlanBind(plan, source, target, options, namespaces.ids().has_value(), maps);
  } else {
    if (type.empty()) throw InvalidInput("mounts.type", "of " + target + " is missing");
    if (maps || options.idmap) throw InvalidInput(field + ".options", "only a bind can be mapped");
    if (options.copy_up && type != "tmpfs")
      throw InvalidInput(field + ".options", "tmpcopyup is for tmpfs only");
    const bool outside = IsMountedOutside(type, target, namespaces);
    if (outside && target == "/dev") {
      options.data.push_back("uid=" + std::to_string(namespaces.HostUid(0, "linux.uidMappings")));
      options.data.push_back("gid=" + std::to_string(namespaces.HostGid(0, "linux.gidMappings")));
    }
    PlanFileSystem(plan, type, source, target, options, outside);
  }
}

}  // namespace

void PlanMounts(PlanWriter& plan, const json& config, const Namespaces& namespaces,
                const CgroupLayout& layout, const std::string& cgroup) {
  bool own_dev = false;
  for (const json& mount : ArrayOr(config, "mounts")) {
    if (!mount.is_object()) throw InvalidInput("mounts", "must hold objects");
    const std::string target = TextOr(mount, "destination", ""), type = TextOr(mount, "type", "");
    if (target.empty() || target[0] != '/')
      throw InvalidInput("mounts.destination", "\"" + target + "\" is not absolute");
    if (type == "cgroup" || type == "cgroup2") {
      const MountOptions options = SortMountOptions(TextsOr(mount, "options"));
      PlanCgroupMount(plan, layout, cgroup, target, options, namespaces.ids().has_value());
    } else {
      PlanMountOf(plan, mount, target, namespaces);
    }
    if (target == "/dev") own_dev = type == "tmpfs";
  }
  if (!own_dev && !ArrayOr(ObjectOr(config, "linux"), "devices").empty())
    throw InvalidInput("linux.devices",
                       "need a tmpfs at /dev among the mounts; what is there is not changed");
  if (own_dev) PlanDevices(plan, config, namespaces);
}

bool HasSharedMounts(const json& config) {
  for (const json& mount : ArrayOr(config, "mounts")) {
    if (mount.is_object() && SortMountOptions(TextsOr(mount, "options")).propagation & MS_SHARED) return true;
  }
  return false;
}

}  // namespace covey
