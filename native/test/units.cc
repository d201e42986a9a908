// The parsers of the native core under ASan and UBSan: built and run by test/integration/native/units.test.ts. A plain
// executable; prints each check that fails and ends with 1.
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "../src/cgroup.h"
#include "../src/container.h"
#include "../src/exec_stream.h"
#include "../src/oci_attributes.h"
#include "../src/oci_mounts.h"
#include "../src/oci_plan.h"
#include "../src/plan_writer.h"
#include "../src/sys_error.h"
#include "../src/syscall_filter.h"
#include "../src/user_lookup.h"
#include "units_cut.h"
#include "units_filters.h"
#include "units_resources.h"
#include "units_runtime.h"
#include "units_template.h"

using covey::FindUser;
using covey::InvalidInput;
using covey::PlanWriter;

namespace {

int failures = 0;

void Check(bool ok, const char* what) {
  if (ok) return;
  printf("failed: %s\n", what);
  failures++;
}

/** The field an InvalidInput names, "" when nothing is thrown. */
std::string Refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const InvalidInput& e) {
    return e.field();
  }
  return "";
}

const char* const kConfig = R"({
  "ociVersion": "1.0.2", "hostname": "h", "root": {"path": "/r"},
  "process": {"args": ["/x"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
  "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]}],
  "linux": {"cgroupsPath": "/c/1", "resources": {"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 5}},
    "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"}]}
})";

covey::CgroupLayout Hybrid() {
  return covey::ParseMountInfo(
      "30 20 0:1 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n"
      "31 20 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "32 20 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
      "33 20 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
      "34 20 0:5 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
      "35 20 0:6 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
      "broken line\n\n - \n");
}

covey::CgroupLayout Unified() {
  return covey::ParseMountInfo("30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
}

std::string Plan(const nlohmann::json& config, const covey::CgroupLayout& layout) {
  covey::CreateOptions options;
  options.id = "a";
  options.state_dir = "/s";
  return covey::PlanContainer(config.dump(), options, layout, "boot");
}

/** Reads a plan to its end; the number of records, -1 when it is broken. */
int Walk(const std::string& text) {
  plan plan{text.data() + 8, text.data() + text.size()};
  plan_record record;
  int count = 0, more = 0;
  while ((more = plan_next(&plan, &record)) == 1) {
    for (unsigned i = 0; i < record.count; i++) {
      for (const char* at = plan_each(&record.field[i], nullptr); at; at = plan_each(&record.field[i], at)) {
        if (strlen(at) > text.size()) return -1;
      }
      plan_number(&record, i);
    }
    count++;
  }
  return more == 0 ? count : -1;
}

void Plans() {
  PlanWriter writer;
  writer.Op(PLAN_LOG).Text("/l").Number(7).Number(2).Op(PLAN_ARGS).List({"a", "", "bc"}).Op(PLAN_PIVOT);
  const std::string text = writer.Finish();
  plan plan{text.data() + 8, text.data() + text.size()};
  plan_record record;
  Check(plan_next(&plan, &record) == 1 && record.op == PLAN_LOG, "first record");
  Check(strcmp(plan_text(&record, 0), "/l") == 0 && plan_number(&record, 1) == 7, "its fields");
  Check(plan_number(&record, 0) == 0 && strcmp(plan_text(&record, 7), "") == 0, "fields that are not there");
  Check(plan_next(&plan, &record) == 1 && record.field[0].length == 6, "a list");
  int items = 0;
  for (const char* at = plan_each(&record.field[0], nullptr); at; at = plan_each(&record.field[0], at))
    items++;
  Check(items == 3, "an empty text in a list is kept");
  Check(plan_next(&plan, &record) == 1 && plan_next(&plan, &record) == 0, "the end");
  Check(Refusal([] { PlanWriter().Op(PLAN_CWD, "cwd").Text(std::string("a\0b", 3)); }) == "cwd",
        "a NUL is refused");
  Check(Refusal([] { PlanWriter().Op(PLAN_CWD, "cwd").Text(std::string(9 << 20, 'x')); }) == "cwd",
        "9 MiB are refused");
}

/** Broken plans are told as broken and never read beyond their end; the sanitizers watch. */
void BrokenPlans() {
  const std::string whole = Plan(nlohmann::json::parse(kConfig), Hybrid());
  Check(Walk(whole) > 10, "a whole plan is read to its end");
  std::mt19937 random(1);
  for (int round = 0; round < 20000; round++) {
    std::string broken = whole.substr(0, 8 + random() % (whole.size() - 8));
    for (unsigned i = 0; i < random() % 4; i++) {
      if (broken.size() > 8) broken[8 + random() % (broken.size() - 8)] = static_cast<char>(random());
    }
    Walk(broken);
  }
}

void Execs() {
  const std::string map = "         0     100000       1000\n      5000          7          1\n";
  Check(covey::HostUidIn(map, 999) == 100999, "an id of the first range");
  Check(covey::HostUidIn(map, 5000) == 7, "an id of the second range");
  Check(Refusal([&] { covey::HostUidIn(map, 1000); }) == "process.user.uid", "an id between the ranges");
  Check(covey::HostUidIn("0 0 4294967295", 4294967294) == 4294967294, "the host's own map");
  Check(covey::ExitCodeIn("ended\n137\n") == 137, "an exit code");
  try {
    covey::ExitCodeIn("");
    Check(false, "a helper without a last word");
  } catch (const covey::SysError& error) {
    Check(error.error() == EPROTO, "a helper without a last word");
  }
}

void Configs() {
  const nlohmann::json good = nlohmann::json::parse(kConfig);
  Check(Walk(Plan(good, Unified())) > 10, "a plan for cgroup v2");
  const auto with = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json changed = good;
    changed[nlohmann::json::json_pointer(pointer)] = value;
    return Refusal([&] { Plan(changed, Hybrid()); });
  };
  Check(with("/process/args", nlohmann::json::array()) == "process.args", "no command");
  Check(with("/process/args", {"a", 1}) == "args", "an argument that is no text");
  Check(with("/process/cwd", "x") == "process.cwd", "a relative folder");
  nlohmann::json process = good["process"];
  process["terminal"] = true;
  process["consoleSize"] = {{"height", 25}, {"width", 65536}};
  Check(with("/process", process) == "process.consoleSize", "a terminal that is too wide");
  Check(with("/process/env", {std::string("A\0B", 3)}) == "process.env", "a NUL in the environment");
  Check(with("/process/capabilities", {{"bounding", {"CAP_FLY"}}}) == "process.capabilities.bounding",
        "capability");
  Check(with("/process/rlimits", {{{"type", "RLIMIT_FLY"}, {"soft", 1}, {"hard", 1}}}) ==
            "process.rlimits.type",
        "limit");
  Check(with("/linux/seccomp", {{"defaultAction", "x"}}) == "linux.seccomp.defaultAction",
        "seccomp is not ignored");
  Check(with("/linux/mountLabel", "system_u:object_r:x") == "linux.mountLabel", "a label of mounts");
  Check(with("/linux/personality", {{"domain", "BSD"}}) == "linux.personality.domain", "a domain");
  Check(with("/process/scheduler", {{"policy", "SCHED_FAST"}}) == "process.scheduler.policy", "a policy");
  Check(with("/process/scheduler", {{"policy", "SCHED_OTHER"}, {"nice", 20}}) == "process.scheduler.nice",
        "a nice value");
  Check(with("/process/ioPriority", {{"class", "IOPRIO_CLASS_BE"}, {"priority", 8}}) ==
            "process.ioPriority.priority",
        "an I/O priority");
  Check(with("/linux/sysctl", {{"kernel.panic", "1"}}) == "linux.sysctl.kernel.panic",
        "a sysctl of the host");
  Check(with("/linux/sysctl", {{"net..x", "1"}}) == "linux.sysctl.net..x", "a sysctl with an empty part");
  Check(with("/linux/cgroupsPath", "/../x") == "linux.cgroupsPath", "a cgroup outside");
  Check(with("/linux/namespaces", {{{"type", "pid"}}, {{"type", "uts"}}}) == "linux.namespaces",
        "no mount namespace");
  Check(with("/hooks", {{"prestart", {{{"path", "/x"}}}}}) == "hooks.prestart", "hooks");
  Check(with("/mounts", {{{"destination", "relative"}}}) == "mounts.destination", "a relative mount");
  Check(with("/linux/resources/devices", {{{"allow", true}, {"type", "x"}}}) == "linux.resources.devices",
        "a device type");
  Check(with("/linux/resources/blockIO",
             {{"throttleReadBpsDevice", {{{"major", 8}, {"minor", 0}, {"rate", 1}}}}}) ==
            "linux.resources.blockIO.throttleReadBpsDevice",
        "a controller that this host lacks");
  Check(with("/linux/netDevices", {{"eth0", {{"name", "in"}}}}) == "linux.netDevices",
        "a device of the host");
  Check(with("/linux/netDevices", nlohmann::json::object()).empty(), "no device of the host");
  Check(with("/linux/memoryPolicy", {{"mode", "MPOL_BIND"}, {"nodes", "0"}}) == "linux.memoryPolicy",
        "a NUMA policy");
  Check(with("/linux/intelRdt", {{"closID", "x"}}) == "linux.intelRdt", "a class of the cache");
  Check(with("/vm", {{"kernel", {{"path", "/k"}}}}) == "vm", "a virtual machine");
  Check(with("/windows", {{"layerFolders", {"x"}}}) == "windows", "another platform");
  Check(with("/process/user", {{"username", "nobody"}}) == "process.user.username", "a user's name alone");
  Check(with("/process/user", {{"username", "root"}, {"uid", 0}, {"gid", 0}}).empty(), "a name and a number");
  const nlohmann::json limit = {{"type", "RLIMIT_CORE"}, {"soft", 0}, {"hard", 0}};
  Check(with("/process/rlimits", {limit, limit}) == "process.rlimits", "a limit twice");
  Check(with("/linux/devices", {{{"path", "/dev/x"}, {"type", "c"}}}) == "linux.devices",
        "devices without a /dev to make them in");
  Check(Refusal([] { covey::PlanContainer("[]", {}, Hybrid(), ""); }) == "config", "no object");
  Check(Refusal([] { covey::PlanContainer("{", {}, Hybrid(), ""); }) == "config", "broken JSON");
}

constexpr uint32_t Errno(int number) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(number); }

/** What the kernel would answer to a call under a profile. */
uint32_t Verdict(const char* profile, int number, const uint64_t (&args)[6] = {}) {
  return covey::SeccompVerdict(covey::BuildSeccomp(nlohmann::json::parse(profile)), number, args);
}

void Filters() {
  const char* const deny = R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [
    {"names": ["read", "execve", "openat2"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7},
    {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
      {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 5, "op": "SCMP_CMP_GT"}]},
    {"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [
      {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 15, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 2}]}]})";
  Check(Verdict(deny, SYS_read) == SECCOMP_RET_ALLOW, "an allowed call");
  Check(Verdict(deny, SYS_write) == Errno(EPERM) && Verdict(deny, SYS_rmdir) == Errno(EPERM), "the default");
  Check(Verdict(deny, SYS_mkdir) == Errno(7), "an errno of a rule");
  Check(Verdict(deny, SYS_openat2 + 1) == Errno(ENOSYS), "a call newer than the profile is absent");
  Check(Verdict(deny, SYS_socket, {1}) == SECCOMP_RET_ALLOW &&
            Verdict(deny, SYS_socket, {9}) == SECCOMP_RET_ALLOW &&
            Verdict(deny, SYS_socket, {2}) == Errno(EPERM),
        "conditions on one argument are alternatives");
  Check(Verdict(deny, SYS_kill, {1, 0xf2}) == SECCOMP_RET_ALLOW &&
            Verdict(deny, SYS_kill, {1, 0xf3}) == Errno(EPERM) &&
            Verdict(deny, SYS_kill, {2, 0xf2}) == Errno(EPERM),
        "conditions on different arguments must all hold");
  const char* const young = R"({"defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["statmount"], "action": "SCMP_ACT_KILL_PROCESS"}]})";
  Check(Verdict(young, 457) == SECCOMP_RET_KILL_PROCESS,
        "a call younger than the library is forbidden all the same");
  Check(Verdict(young, 9999) == SECCOMP_RET_ALLOW, "what is new is allowed where all is");
  const auto refused = [](const char* profile) { return Refusal([&] { Verdict(profile, 0); }); };
  Check(refused(R"({"defaultAction": "SCMP_ACT_NOTIFY"})") == "linux.seccomp.defaultAction", "a listener");
  Check(refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_X"]})") ==
            "linux.seccomp.flags",
        "a flag");
  Check(refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]})") ==
            "linux.seccomp.architectures",
        "an architecture");
  Check(refused(R"({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 4096})") ==
            "linux.seccomp.defaultErrnoRet",
        "an errno");
  Check(refused(
            R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL",
    "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_IS"}]}]})") == "linux.seccomp.syscalls.args.op",
        "an operator");
  nlohmann::json config = nlohmann::json::parse(kConfig);
  config["linux"]["seccomp"] = {{"defaultAction", "SCMP_ACT_ERRNO"}};
  Check(Refusal([&] { Plan(config, Hybrid()); }) == "linux.seccomp",
        "a profile under which nothing could be run");
  config["linux"]["seccomp"] = {{"defaultAction", "SCMP_ACT_ALLOW"}};
  Check(Walk(Plan(config, Hybrid())) > 10, "a profile in a plan");
  Check(covey::SeccompFor(config["linux"]["seccomp"]) == covey::SeccompFor(config["linux"]["seccomp"]),
        "a profile is built once");
}

void Profiles() {
  const std::string list = "docker-default (enforce)\n/usr/bin/man//filter (enforce)\na (b) (complain)\n";
  Check(covey::ListsProfile(list, "docker-default"), "a loaded profile");
  Check(covey::ListsProfile(list, "/usr/bin/man//filter"), "a profile within a profile");
  Check(covey::ListsProfile(list, "a (b)"), "a name with a bracket");
  Check(!covey::ListsProfile(list, "docker") && !covey::ListsProfile("", "x"),
        "a profile that is not loaded");
  Check(covey::ListsProfile(list, ":ns:x") && covey::ListsProfile(list, "a//&b"),
        "what the list does not tell");
}

void Masks() {
  Check(covey::CpuMask("0-2,9", "f") == std::string("\x07\x02\0\0\0\0\0\0", 8), "a list of CPUs");
  Check(covey::CpuMask("64", "f").size() == 16, "the sixty-fifth CPU");
  for (const char* bad : {"", ",", "1,", "2-1", "-1", "1-", "a", "1-2-3", "99999", "0x1", "1,,2"})
    Check(Refusal([&] { covey::CpuMask(bad, "f"); }) == "f", bad);
}

void Cgroups() {
  const covey::CgroupLayout hybrid = Hybrid();
  Check(!hybrid.unified && hybrid.v1.size() == 4, "named hierarchies are left out");
  Check(hybrid.FolderOf("cpuacct", "/a") == "/sys/fs/cgroup/cpu,cpuacct/a", "controllers mounted together");
  Check(hybrid.FolderOf("blkio", "/a").empty(), "an absent controller");
  Check(Unified().unified && Unified().FoldersOf("/a").size() == 1, "unified");
}

void Users() {
  const std::string passwd =
      "root:x:0:0:r:/root:/bin/sh\n\nbroken\n:x:1\nweb:x:10:20::/srv:\nhuge:x:99999999999:1::/:\n";
  const std::string group = "root:x:0:\nweb:x:20:\nlogs:x:7:a,web\nodd\nwww:x:33:webber\n";
  Check(FindUser(passwd, group, "web").uid == 10 && FindUser(passwd, group, "web").gid == 20, "by name");
  Check(FindUser(passwd, group, "web").additional_gids == std::vector<uint32_t>{7},
        "whole names in groups only");
  Check(FindUser(passwd, group, "10").home == "/srv", "by number, with its entry");
  Check(FindUser("", "", "77").uid == 77 && FindUser("", "", "77").home == "/", "by number, without one");
  Check(FindUser(passwd, group, "web:logs").gid == 7 &&
            FindUser(passwd, group, "web:logs").additional_gids.empty(),
        "group");
  Check(FindUser(passwd, group, "5:6").gid == 6, "numbers");
  for (const char* bad : {"huge", "nobody", "", "4294967295", "-1", "web:none"}) {
    Check(Refusal([&] { FindUser(passwd, group, bad); }) == "user", bad);
  }
}

void Answers() {
  Check(covey::ParseExecAnswer("ok\n3\n0\nhi\nyou").output == "hi\nyou", "output with newlines");
  Check(covey::ParseExecAnswer("ok\n-1\n1\n").timed_out, "timed out");
  for (const char* broken : {"", "ok", "ok\n", "ok\n1", "ok\n1\n", "error\n2\nstep\nexecve\n/x", "error",
                             "x\n", "error\n\nstep\nexecve\n/x"}) {
    bool thrown = false;
    try {
      covey::ParseExecAnswer(broken);
    } catch (const covey::SysError& e) {
      thrown = true;
      Check(e.error() > 0, "a failure has its errno");
      if (std::string(broken).rfind("error\n2", 0) == 0)
        Check(e.error() == 2 && e.step() == "step" && e.path() == "/x", "error");
    }
    Check(thrown, broken);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    puts("usage: native-units DEFAULT-SECCOMP-PROFILE COVEY-SHIM");
    return 2;
  }
  try {
    Plans();
    BrokenPlans();
    Configs();
    Filters();
    Masks();
    Profiles();
    Execs();
    Cgroups();
    Users();
    Answers();
    failures += units_cut::Failures();
    failures += units_filters::Failures(arguments[1]);
    failures += units_resources::Failures();
    failures += units_runtime::Failures();
    failures += units_template::Failures(arguments[2]);
  } catch (...) {
    // A check that throws what it does not expect has failed like any other.
    puts("an exception that no check expects");
    return 1;
  }
  printf(failures == 0 ? "all well\n" : "%d checks failed\n", failures);
  return failures == 0 ? 0 : 1;
}
