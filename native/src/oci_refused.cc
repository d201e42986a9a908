#include "oci_refused.h"

#include <nlohmann/json.hpp>

#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

struct Refusal {
  const char* key;
  const char* why;
};

// Source: OCI runtime-spec 1.3, config-linux.md.
constexpr Refusal kLinux[] = {
    {"intelRdt", "is not supported: this core makes no resctrl groups"},
    {"netDevices",
     "is not supported: no device of the host is moved into a container; join a network namespace that has "
     "it, by "
     "linux.namespaces.network.path"},
    {"memoryPolicy",
     "is not supported: no NUMA policy is set; linux.resources.cpu.mems binds a container to nodes"},
};
// Source: OCI runtime-spec 1.3, config.md, "Platform-specific configuration".
constexpr Refusal kPlatforms[] = {
    {"vm", "is not supported: containers of this core run on the host's kernel"},
    {"windows", "is not for this platform, which is Linux"},
    {"solaris", "is not for this platform, which is Linux"},
    {"freebsd", "is not for this platform, which is Linux"},
    {"zos", "is not for this platform, which is Linux"},
};

bool Says(const json& from, const char* key) {
  const auto found = from.find(key);
  return found != from.end() && !found->is_null() && !found->empty();
}

}  // namespace

void RefuseUnsupported(const json& config, bool runs_hooks) {
  const json& linux = ObjectOr(config, "linux");
  for (const auto& [kind, hooks] : ObjectOr(config, "hooks").items()) {
    if (!hooks.empty() && !runs_hooks) throw InvalidInput("hooks." + kind, "hooks are not run by this core");
  }
  for (const auto& [key, why] : kLinux) {
    if (Says(linux, key)) throw InvalidInput(std::string("linux.") + key, why);
  }
  for (const auto& [key, why] : kPlatforms) {
    if (Says(config, key)) throw InvalidInput(key, why);
  }
  const json& user = ObjectOr(ObjectOr(config, "process"), "user");
  // A name beside a number is a note; alone it would mean root.
  if (!TextOr(user, "username", "").empty() && !user.contains("uid"))
    throw InvalidInput("process.user.username", "is not looked up: give process.user.uid and gid");
}

void RefuseTree(const json& config) {
  const json& linux = ObjectOr(config, "linux");
  const auto refuse = [](bool is_asked, const char* field, const char* what) {
    if (is_asked)
      throw InvalidInput(field, std::string("cannot be ") + what + " in a mount namespace that is joined");
  };
  refuse(!ArrayOr(config, "mounts").empty(), "mounts", "made");
  refuse(FlagOr(ObjectOr(config, "process"), "terminal", false), "process.terminal", "made");
  refuse(FlagOr(ObjectOr(config, "root"), "readonly", false), "root.readonly", "set");
  refuse(!ArrayOr(linux, "maskedPaths").empty(), "linux.maskedPaths", "set");
  refuse(!ArrayOr(linux, "readonlyPaths").empty(), "linux.readonlyPaths", "set");
  refuse(!ObjectOr(linux, "sysctl").empty(), "linux.sysctl", "set");
  refuse(!ArrayOr(linux, "devices").empty(), "linux.devices", "made");
  refuse(!TextOr(linux, "rootfsPropagation", "").empty(), "linux.rootfsPropagation", "set");
}

}  // namespace covey
