#include "oci_process.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "oci_attributes.h"
#include "oci_reader.h"
#include "syscall_filter.h"

namespace covey {
namespace {

using nlohmann::json;

// In the kernel's order. Source: linux/capability.h.
const char* const kCapabilities[] = {"CAP_CHOWN",
                                     "CAP_DAC_OVERRIDE",
                                     "CAP_DAC_READ_SEARCH",
                                     "CAP_FOWNER",
                                     "CAP_FSETID",
                                     "CAP_KILL",
                                     "CAP_SETGID",
                                     "CAP_SETUID",
                                     "CAP_SETPCAP",
                                     "CAP_LINUX_IMMUTABLE",
                                     "CAP_NET_BIND_SERVICE",
                                     "CAP_NET_BROADCAST",
                                     "CAP_NET_ADMIN",
                                     "CAP_NET_RAW",
                                     "CAP_IPC_LOCK",
                                     "CAP_IPC_OWNER",
                                     "CAP_SYS_MODULE",
                                     "CAP_SYS_RAWIO",
                                     "CAP_SYS_CHROOT",
                                     "CAP_SYS_PTRACE",
                                     "CAP_SYS_PACCT",
                                     "CAP_SYS_ADMIN",
                                     "CAP_SYS_BOOT",
                                     "CAP_SYS_NICE",
                                     "CAP_SYS_RESOURCE",
                                     "CAP_SYS_TIME",
                                     "CAP_SYS_TTY_CONFIG",
                                     "CAP_MKNOD",
                                     "CAP_LEASE",
                                     "CAP_AUDIT_WRITE",
                                     "CAP_AUDIT_CONTROL",
                                     "CAP_SETFCAP",
                                     "CAP_MAC_OVERRIDE",
                                     "CAP_MAC_ADMIN",
                                     "CAP_SYSLOG",
                                     "CAP_WAKE_ALARM",
                                     "CAP_BLOCK_SUSPEND",
                                     "CAP_AUDIT_READ",
                                     "CAP_PERFMON",
                                     "CAP_BPF",
                                     "CAP_CHECKPOINT_RESTORE"};

const std::map<std::string, int> kLimits = {{"RLIMIT_AS", RLIMIT_AS},
                                            {"RLIMIT_CORE", RLIMIT_CORE},
                                            {"RLIMIT_CPU", RLIMIT_CPU},
                                            {"RLIMIT_DATA", RLIMIT_DATA},
                                            {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                            {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                            {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                            {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                            {"RLIMIT_NICE", RLIMIT_NICE},
                                            {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                            {"RLIMIT_NPROC", RLIMIT_NPROC},
                                            {"RLIMIT_RSS", RLIMIT_RSS},
                                            {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                            {"RLIMIT_RTTIME", RLIMIT_RTTIME},
                                            {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                            {"RLIMIT_STACK", RLIMIT_STACK}};

uint64_t CapabilityMask(const json& sets, const char* set) {
  uint64_t mask = 0;
  for (const std::string& name : TextsOr(sets, set)) {
    int number = 0;
    for (const char* known : kCapabilities) {
      if (name == known) break;
      number++;
    }
    if (number == static_cast<int>(std::size(kCapabilities))) {
      throw InvalidInput(std::string("process.capabilities.") + set, "unknown capability \"" + name + "\"");
    }
    mask |= uint64_t{1} << number;
  }
  return mask;
}

/** The capabilities this process may use. */
uint64_t OwnCapabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[2]{};
  if (syscall(SYS_capget, &header, sets) != 0) throw SysError{errno, "capget"};
  return sets[0].effective | uint64_t{sets[1].effective} << 32;
}

bool MayRaiseLimits() { return (OwnCapabilities() >> CAP_SYS_RESOURCE & 1) != 0; }

uint64_t LimitValue(const json& item, const char* key) {
  const auto found = item.find(key);
  if (found == item.end() || !found->is_number_integer()) {
    throw InvalidInput(std::string("process.rlimits.") + key, "must be an integer");
  }
  // -1 and 2^64-1 both mean unlimited; JSON of Go's tools has the latter.
  return found->is_number_unsigned() ? found->get<uint64_t>() : static_cast<uint64_t>(found->get<int64_t>());
}

void PlanLimits(PlanWriter& plan, const json& process) {
  std::set<std::string> seen;
  for (const json& item : ArrayOr(process, "rlimits")) {
    const std::string name = TextOr(item, "type", "");
    const auto limit = kLimits.find(name);
    if (!seen.insert(name).second) throw InvalidInput("process.rlimits", name + " is there twice");
    if (limit == kLimits.end()) throw InvalidInput("process.rlimits.type", "unknown limit \"" + name + "\"");
    const uint64_t soft = LimitValue(item, "soft"), hard = LimitValue(item, "hard");
    rlimit own{};
    getrlimit(static_cast<__rlimit_resource>(limit->second), &own);
    if (hard > own.rlim_max && !MayRaiseLimits()) {
      throw InvalidInput("process.rlimits",
                         name + " " + std::to_string(hard) + " is above this host's hard limit of " +
                             std::to_string(own.rlim_max) + ", which cannot be raised here");
    }
    if (soft > hard) throw InvalidInput("process.rlimits", name + ": soft is above hard");
    plan.Op(PLAN_RLIMIT).Number(static_cast<uint64_t>(limit->second)).Number(soft).Number(hard).Text(name);
  }
}

void PlanUser(PlanWriter& plan, const json& user) {
  const auto id = [&](const char* key) {
    const int64_t value = NumberOr(user, key, 0);
    if (value < 0 || value > 4294967294)
      throw InvalidInput(std::string("process.user.") + key, "is out of range");
    return static_cast<uint32_t>(value);
  };
  std::vector<uint32_t> gids;
  for (const json& gid : ArrayOr(user, "additionalGids")) {
    if (!gid.is_number_unsigned() || gid.get<uint64_t>() > 4294967294) {
      throw InvalidInput("process.user.additionalGids", "must hold group ids");
    }
    gids.push_back(gid.get<uint32_t>());
  }
  plan.Op(PLAN_USER).Number(id("uid")).Number(id("gid")).Number(
      static_cast<uint64_t>(NumberOr(user, "umask", 022) & 0777));
  plan.Bytes(gids.data(), gids.size() * sizeof(uint32_t));
}

}  // namespace

void PlanTerminal(PlanWriter& plan, const json& process) {
  const json& size = ObjectOr(process, "consoleSize");
  const int64_t rows = NumberOr(size, "height", 0), columns = NumberOr(size, "width", 0);
  if (!FlagOr(process, "terminal", false)) return;
  if (rows < 0 || rows > 0xffff || columns < 0 || columns > 0xffff) {
    throw InvalidInput("process.consoleSize", "height and width must be 0 to 65535");
  }
  plan.Op(PLAN_TERMINAL, "process.terminal")
      .Number(static_cast<uint64_t>(rows))
      .Number(static_cast<uint64_t>(columns));
}

void PlanEveryCapability(PlanWriter& plan) {
  const uint64_t all = OwnCapabilities();
  plan.Op(PLAN_CAPS).Number(all).Number(all).Number(all).Number(0).Number(0);
}

void PlanOomScore(PlanWriter& plan, const json& process) {
  plan.Op(PLAN_OOM_SCORE).Number(static_cast<uint64_t>(NumberOr(process, "oomScoreAdj", 0)));
}

void PlanProcess(PlanWriter& plan, const json& process, const json& linux, bool reaper,
                 std::shared_ptr<const SeccompFilter> filter) {
  const std::vector<std::string> args = TextsOr(process, "args");
  const std::string cwd = TextOr(process, "cwd", "/");
  if (args.empty() || args[0].empty()) throw InvalidInput("process.args", "there is no command");
  if (cwd.empty() || cwd[0] != '/') throw InvalidInput("process.cwd", "\"" + cwd + "\" is not absolute");
  PlanLimits(plan, process);
  PlanAttributes(plan, process, linux);
  PlanUser(plan, ObjectOr(process, "user"));
  const json& sets = ObjectOr(process, "capabilities");
  plan.Op(PLAN_CAPS);
  for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"}) {
    plan.Number(CapabilityMask(sets, set));
  }
  if (FlagOr(process, "noNewPrivileges", false)) plan.Op(PLAN_NO_NEW_PRIVS);
  plan.Op(PLAN_CWD, "process.cwd").Text(cwd);
  plan.Op(PLAN_ENV, "process.env").List(TextsOr(process, "env"));
  plan.Op(PLAN_ARGS, "process.args").List(args);
  if (const json& profile = ObjectOr(linux, "seccomp"); !filter && !profile.empty())
    filter = SeccompFor(profile);
  if (filter) PlanSeccomp(plan, process, *filter, reaper);
  if (reaper) plan.Op(PLAN_REAPER);
}

std::vector<std::string> KnownCapabilities() { return {std::begin(kCapabilities), std::end(kCapabilities)}; }

}  // namespace covey
