#include "oci_mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

// Source: linux/mount.h; spelled here because glibc's and the kernel's headers do not mix.
constexpr uint64_t kReadOnly = 0x1, kNoSuid = 0x2, kNoDev = 0x4, kNoExec = 0x8, kTimeMask = 0x70,
                   kNoAtime = 0x10, kStrictAtime = 0x20, kNoDirAtime = 0x80;

struct Attribute {
  uint64_t set;
  uint64_t clear;
};
const std::map<std::string, Attribute> kAttributes = {
    {"ro", {kReadOnly, 0}},
    {"rw", {0, kReadOnly}},
    {"nosuid", {kNoSuid, 0}},
    {"suid", {0, kNoSuid}},
    {"nodev", {kNoDev, 0}},
    {"dev", {0, kNoDev}},
    {"noexec", {kNoExec, 0}},
    {"exec", {0, kNoExec}},
    {"noatime", {kNoAtime, kTimeMask}},
    {"strictatime", {kStrictAtime, kTimeMask}},
    {"relatime", {0, kTimeMask}},
    {"nodiratime", {kNoDirAtime, 0}},
    {"defaults", {0, 0}},
    {"async", {0, 0}},
};
const std::map<std::string, uint64_t> kPropagation = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE},       {"slave", MS_SLAVE},
    {"rslave", MS_SLAVE},          {"shared", MS_SHARED},          {"rshared", MS_SHARED},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE},
};

struct Options {
  uint64_t set = 0;
  uint64_t clear = 0;
  uint64_t propagation = 0;
  bool bind = false;
  bool recursive = false;
  bool recursive_attributes = false;
  std::vector<std::string> data;
};

Options Sort(const std::vector<std::string>& texts) {
  Options options;
  for (const std::string& text : texts) {
    const auto attribute = kAttributes.find(text);
    const auto propagation = kPropagation.find(text);
    if (attribute != kAttributes.end()) {
      options.set = (options.set & ~attribute->second.clear) | attribute->second.set;
      options.clear = (options.clear & ~attribute->second.set) | attribute->second.clear;
    } else if (propagation != kPropagation.end()) {
      options.propagation = propagation->second;
    } else if (text == "bind" || text == "rbind") {
      options.bind = true;
      options.recursive = text == "rbind";
    } else if (text == "rro") {
      options.set |= kReadOnly;
      options.recursive_attributes = true;
    } else {
      options.data.push_back(text);
    }
  }
  return options;
}

void PlanBind(PlanWriter& plan, const std::string& source, const std::string& target, const Options& o) {
  uint64_t flags = 0;
  if (o.recursive) flags |= BIND_RECURSIVE;
  if (o.recursive_attributes) flags |= BIND_RECURSIVE_ATTRIBUTES;
  plan.Op(PLAN_BIND, "mounts")
      .Text(source)
      .Text(target)
      .Number(o.set)
      .Number(o.clear)
      .Number(flags)
      .Number(o.propagation);
}

void PlanFileSystem(PlanWriter& plan, const std::string& type, const std::string& source,
                    const std::string& target, const Options& o) {
  plan.Op(PLAN_MOUNT, "mounts")
      .Text(type)
      .Text(source)
      .Text(target)
      .Number(o.set)
      .List(o.data)
      .Number(o.propagation);
}

/** /sys/fs/cgroup: the unified tree, or on v1 a tmpfs with the container's own part of each hierarchy. */
void PlanCgroupMount(PlanWriter& plan, const CgroupLayout& layout, const std::string& cgroup,
                     const std::string& target, const Options& asked) {
  if (layout.unified) {
    Options o = asked;
    o.data.clear();
    PlanFileSystem(plan, "cgroup2", "cgroup", target, o);
    return;
  }
  Options folder = asked;
  folder.set &= ~kReadOnly;
  folder.data = {"mode=755", "size=64k"};
  PlanFileSystem(plan, "tmpfs", "tmpfs", target, folder);
  for (const CgroupLayout::Hierarchy& h : layout.v1) {
    Options o = asked;
    o.data.clear();
    PlanBind(plan, h.mount + cgroup, target + h.mount.substr(h.mount.rfind('/')), o);
  }
}

void PlanDevices(PlanWriter& plan, const json& config) {
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
    plan.Number(static_cast<uint64_t>(NumberOr(device, "uid", 0)))
        .Number(static_cast<uint64_t>(NumberOr(device, "gid", 0)));
  }
  for (const auto& node : standard) {
    if (std::find(own.begin(), own.end(), node.path) != own.end()) continue;
    plan.Op(PLAN_NODE)
        .Text(node.path)
        .Number(S_IFCHR | 0666)
        .Number(node.major)
        .Number(node.minor)
        .Number(0)
        .Number(0);
  }
  const char* const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                  {"/proc/self/fd/0", "/dev/stdin"},
                                  {"/proc/self/fd/1", "/dev/stdout"},
                                  {"/proc/self/fd/2", "/dev/stderr"},
                                  {"pts/ptmx", "/dev/ptmx"}};
  for (const auto& link : links) plan.Op(PLAN_LINK).Text(link[0]).Text(link[1]);
}

}  // namespace

void PlanMounts(PlanWriter& plan, const json& config, const CgroupLayout& layout, const std::string& cgroup) {
  bool own_dev = false;
  for (const json& mount : ArrayOr(config, "mounts")) {
    if (!mount.is_object()) throw InvalidInput("mounts", "must hold objects");
    const std::string target = TextOr(mount, "destination", ""), source = TextOr(mount, "source", "");
    const std::string type = TextOr(mount, "type", "");
    if (target.empty() || target[0] != '/')
      throw InvalidInput("mounts.destination", "\"" + target + "\" is not absolute");
    const Options options = Sort(TextsOr(mount, "options"));
    if (options.bind || type == "bind") {
      if (source.empty() || source[0] != '/')
        throw InvalidInput("mounts.source", "\"" + source + "\" is not absolute");
      PlanBind(plan, source, target, options);
    } else if (type == "cgroup" || type == "cgroup2") {
      PlanCgroupMount(plan, layout, cgroup, target, options);
    } else {
      if (type.empty()) throw InvalidInput("mounts.type", "of " + target + " is missing");
      PlanFileSystem(plan, type, source, target, options);
    }
    if (target == "/dev") own_dev = type == "tmpfs";
  }
  if (own_dev) PlanDevices(plan, config);
}

std::string SysctlPath(const std::string& key) {
  std::string path = key;
  std::replace(path.begin(), path.end(), '.', '/');
  const bool own = path.rfind("net/", 0) == 0 || path.rfind("kernel/msg", 0) == 0 ||
                   path.rfind("kernel/shm", 0) == 0 || path == "kernel/sem" ||
                   path.rfind("fs/mqueue/", 0) == 0 || path == "kernel/domainname";
  if (!own || path.find("//") != std::string::npos) {
    throw InvalidInput("linux.sysctl." + key,
                       "is not kept per container: only net.*, the IPC ones and fs.mqueue.* are");
  }
  return path;
}

}  // namespace covey
