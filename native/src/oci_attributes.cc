#include "oci_attributes.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

// Source: linux/sched.h.
const std::map<std::string, uint64_t> kPolicies = {{"SCHED_OTHER", 0},   {"SCHED_FIFO", 1}, {"SCHED_RR", 2},
                                                   {"SCHED_BATCH", 3},   {"SCHED_ISO", 4},  {"SCHED_IDLE", 5},
                                                   {"SCHED_DEADLINE", 6}};
const std::map<std::string, uint64_t> kSchedulerFlags = {
    {"SCHED_FLAG_RESET_ON_FORK", 0x01},  {"SCHED_FLAG_RECLAIM", 0x02},
    {"SCHED_FLAG_DL_OVERRUN", 0x04},     {"SCHED_FLAG_KEEP_POLICY", 0x08},
    {"SCHED_FLAG_KEEP_PARAMS", 0x10},    {"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20},
    {"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40},
};
// Source: linux/ioprio.h.
const std::map<std::string, uint64_t> kIoClasses = {
    {"IOPRIO_CLASS_RT", 1}, {"IOPRIO_CLASS_BE", 2}, {"IOPRIO_CLASS_IDLE", 3}};
constexpr unsigned kIoClassShift = 13;
// Source: sys/personality.h.
const std::map<std::string, uint64_t> kDomains = {{"LINUX", 0}, {"LINUX32", 8}};
constexpr unsigned kCpusMax = 8192;
constexpr char kAppArmorProfiles[] = "/sys/kernel/security/apparmor/profiles";

uint64_t Named(const std::map<std::string, uint64_t>& known, const std::string& name,
               const std::string& field) {
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  std::string names;
  for (const auto& [each, number] : known) names += (names.empty() ? "" : ", ") + each;
  throw InvalidInput(field, "\"" + name + "\" is not one of " + names);
}

int64_t Within(const json& from, const char* key, int64_t least, int64_t most, const std::string& field) {
  const int64_t number = NumberOr(from, key, 0);
  if (number >= least && number <= most) return number;
  throw InvalidInput(field + "." + key, std::to_string(number) + " is not within " + std::to_string(least) +
                                            " to " + std::to_string(most));
}

void PlanScheduler(PlanWriter& plan, const json& scheduler) {
  if (scheduler.empty()) return;
  const std::string field = "process.scheduler";
  const uint64_t policy = Named(kPolicies, TextOr(scheduler, "policy", ""), field + ".policy");
  uint64_t flags = 0;
  for (const std::string& flag : TextsOr(scheduler, "flags"))
    flags |= Named(kSchedulerFlags, flag, field + ".flags");
  plan.Op(PLAN_SCHEDULER, field)
      .Number(policy)
      .Number(flags)
      .Number(static_cast<uint64_t>(Within(scheduler, "nice", -20, 19, field)))
      .Number(static_cast<uint64_t>(Within(scheduler, "priority", 0, 99, field)));
  for (const char* key : {"runtime", "deadline", "period"})
    plan.Number(static_cast<uint64_t>(Within(scheduler, key, 0, INT64_MAX, field)));
}

/** The first line of a small file of the kernel's; "" when it is not there. */
std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/** Where the list cannot be read the kernel decides, when the profile is applied. */
void RefuseUnloaded(const std::string& profile) {
  std::ifstream file(kAppArmorProfiles);
  if (!file) return;
  const std::string list{std::istreambuf_iterator<char>(file), {}};
  if (!ListsProfile(list, profile))
    throw InvalidInput(
        "process.apparmorProfile",
        "\"" + profile +
            "\" is not loaded on this host; aa-status lists the loaded profiles, apparmor_parser "
            "--replace FILE loads one");
}

}  // namespace

bool ListsProfile(const std::string& list, const std::string& name) {
  if (name.rfind(':', 0) == 0 || name.find("//&") != std::string::npos) return true;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    if (line.substr(0, line.rfind(" (")) == name) return true;
  }
  return false;
}

bool HasAppArmor() { return FirstLine("/sys/module/apparmor/parameters/enabled") == "Y"; }

bool HasSelinux() {
  std::ifstream file("/proc/filesystems");
  for (std::string line; std::getline(file, line);) {
    if (line.find("selinuxfs") != std::string::npos) return true;
  }
  return false;
}

void PlanAttributes(PlanWriter& plan, const json& process, const json& linux) {
  PlanScheduler(plan, ObjectOr(process, "scheduler"));
  const json& priority = ObjectOr(process, "ioPriority");
  if (!priority.empty()) {
    const uint64_t io_class = Named(kIoClasses, TextOr(priority, "class", ""), "process.ioPriority.class");
    plan.Op(PLAN_IO_PRIORITY)
        .Number(io_class << kIoClassShift |
                static_cast<uint64_t>(Within(priority, "priority", 0, 7, "process.ioPriority")));
  }
  const json& personality = ObjectOr(linux, "personality");
  if (!personality.empty()) {
    if (!ArrayOr(personality, "flags").empty())
      throw InvalidInput("linux.personality.flags", "the specification knows none");
    plan.Op(PLAN_PERSONALITY)
        .Number(Named(kDomains, TextOr(personality, "domain", ""), "linux.personality.domain"));
  }
}

void PlanLabels(PlanWriter& plan, const json& process, const json& linux) {
  const std::string apparmor = TextOr(process, "apparmorProfile", ""),
                    selinux = TextOr(process, "selinuxLabel", "");
  if (!apparmor.empty() && apparmor != "unconfined" && !HasAppArmor())
    throw InvalidInput("process.apparmorProfile",
                       "this kernel runs no AppArmor, so \"" + apparmor + "\" would not hold");
  if (!apparmor.empty() && HasAppArmor()) {
    if (apparmor != "unconfined") RefuseUnloaded(apparmor);
    plan.Op(PLAN_LABEL, "process.apparmorProfile").Text("apparmor").Text("exec " + apparmor);
  }
  if (!selinux.empty()) {
    if (!HasSelinux())
      throw InvalidInput("process.selinuxLabel",
                         "this kernel runs no SELinux, so \"" + selinux + "\" would not hold");
    plan.Op(PLAN_LABEL, "process.selinuxLabel").Text("").Text(selinux);
  }
  if (!TextOr(linux, "mountLabel", "").empty()) {
    throw InvalidInput("linux.mountLabel", HasSelinux() ? "labels of mounts are not supported by this core"
                                                        : "this kernel runs no SELinux");
  }
}

void PlanExecAffinity(PlanWriter& plan, const json& process) {
  const json& affinity = ObjectOr(process, "execCPUAffinity");
  const std::string initial = TextOr(affinity, "initial", ""), final = TextOr(affinity, "final", "");
  const auto add = [&](plan_op op, const std::string& list, const char* field) {
    if (list.empty()) return;
    const std::string mask = CpuMask(list, field);
    plan.Op(op, field).Bytes(mask.data(), mask.size());
  };
  add(PLAN_START_AFFINITY, initial, "process.execCPUAffinity.initial");
  add(PLAN_AFFINITY, final, "process.execCPUAffinity.final");
}

std::string CpuMask(const std::string& list, const std::string& field) {
  const auto refuse = [&] {
    return InvalidInput(field, "\"" + list + "\" is not a list of CPUs such as 0-3,7");
  };
  std::string mask;
  std::istringstream in(list);
  if (list.empty() || list.back() == ',') throw refuse();
  for (std::string part; std::getline(in, part, ',');) {
    unsigned first = 0, last = 0;
    int used = 0;
    const bool digits = part.find_first_not_of("0123456789-") == std::string::npos && part.size() <= 9;
    if (digits && sscanf(part.c_str(), "%u-%u%n", &first, &last, &used) == 2) {
    } else if (digits && sscanf(part.c_str(), "%u%n", &first, &used) == 1) {
      last = first;
    }
    if (used == 0 || static_cast<size_t>(used) != part.size() || last < first || last >= kCpusMax)
      throw refuse();
    // Whole words: the kernel takes masks in units of a long.
    mask.resize(std::max<size_t>(mask.size(), (last / 64 + 1) * size_t{8}), '\0');
    for (unsigned cpu = first; cpu <= last; cpu++)
      mask[cpu / 8] = static_cast<char>(static_cast<unsigned char>(mask[cpu / 8]) | 1u << cpu % 8);
  }
  return mask;
}

}  // namespace covey
