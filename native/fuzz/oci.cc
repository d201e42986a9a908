// What comes from whoever describes a container: OCI configs, plans, image users, profiles.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "../src/cgroup.h"
#include "../src/cgroup_name.h"
#include "../src/cgroup_update.h"
#include "../src/device_rules.h"
#include "../src/id_maps.h"
#include "../src/mount_options.h"
#include "../src/oci_hooks.h"
#include "../src/oci_leave.h"
#include "../src/oci_plan.h"
#include "../src/sys_error.h"
#include "../src/syscall_filter.h"
#include "../src/user_lookup.h"
#include "target.h"

namespace covey_fuzz {
namespace {

const covey::CgroupLayout& Layout(bool unified) {
  static const covey::CgroupLayout v2 =
      covey::ParseMountInfo("30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
  static const covey::CgroupLayout v1 = covey::ParseMountInfo(
      "30 20 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "31 20 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
      "32 20 0:3 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
      "33 20 0:4 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n"
      "34 20 0:5 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
      "35 20 0:6 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n");
  return unified ? v2 : v1;
}

nlohmann::json Json(const std::string& text) {
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object()) throw covey::InvalidInput("input", "is no JSON object");
  return parsed;
}

/** A plan that was made is one that the shim can read. */
void MustBeWhole(const std::string& plan) {
  uint32_t header[2];
  Must(plan.size() >= sizeof header, "a plan has its header");
  memcpy(header, plan.data(), sizeof header);
  Must(header[0] == PLAN_MAGIC && header[1] == plan.size() - sizeof header, "the header fits the plan");
  Must(WalkPlan(plan.data() + sizeof header, plan.data() + plan.size()) >= 0, "the plan can be read");
}

void Config(const std::string& input) {
  covey::CreateOptions options;
  options.id = "fuzz";
  options.state_dir = "/nowhere/fuzz";
  options.log_path = "/nowhere/fuzz/log";
  const bool unified = input.size() % 2 == 0;
  if (input.size() % 3 == 0) options.layers = {"/nowhere/a", "/nowhere/b"};
  MustBeWhole(covey::PlanContainer(input, options, Layout(unified), "boot"));
}

void Exec(const std::string& input) {
  covey::ExecOptions options;
  options.cgroup = "/covey/fuzz";
  MustBeWhole(covey::PlanExec(input, options, Layout(input.size() % 2 == 0)));
}

/** As covey-runtime makes them. */
void Leave(const std::string& input) {
  const nlohmann::json config = Json(input);
  covey::CreateOptions options;
  options.id = "fuzz";
  options.state_dir = "/nowhere/fuzz";
  options.leave =
      covey::LeaveOptions{.kept = 2, .console = input.size() % 2 == 0, .states = {"{\"pid\":", "{\"pid\":"}};
  MustBeWhole(covey::PlanParsed(config, options, Layout(input.size() % 3 == 0), "boot"));
  for (const char* kind : {"poststart", "poststop"}) covey::HooksOf(config, kind);
}

void Join(const std::string& input) {
  const std::vector<std::string> parts = Parts(input, 2);
  const covey::JoinOptions options{.cgroup = "/covey/fuzz", .kept = 1, .console = input.size() % 2 == 0};
  const nlohmann::json linux_part = parts[1].empty() ? nlohmann::json::object() : Json(parts[1]);
  MustBeWhole(covey::PlanJoin(Json(parts[0]), linux_part, options, Layout(input.size() % 3 == 0)));
}

/** A command whose streams are its caller's. */
void ExecStream(const std::string& input) {
  covey::ExecOptions options;
  options.cgroup = "/covey/fuzz";
  options.privileged = input.size() % 2 == 0;
  options.stream = covey::StreamWish{
      .terminal = input.size() % 3 == 0, .detached = false, .rows = 24, .columns = 80, .owner_uid = 1};
  MustBeWhole(covey::PlanExec(input, options, Layout(input.size() % 5 == 0)));
}

void PlanBytes(const std::string& input) { WalkPlan(input.data(), input.data() + input.size()); }

void User(const std::string& input) {
  const std::vector<std::string> parts = Parts(input, 3);
  const covey::ImageUser user = covey::FindUser(parts[1], parts[2], parts[0]);
  Must(user.uid != UINT32_MAX && user.gid != UINT32_MAX, "nobody has the id that means none");
  Must(!user.home.empty(), "everybody has a home");
}

/** The shaped filter gives libseccomp's own answers, whatever the arguments. */
void Seccomp(const std::string& input) {
  const nlohmann::json profile = Json(input);
  const covey::SeccompFilter filter = covey::BuildSeccomp(profile);
  const covey::SeccompFilter own = covey::TranslateSeccomp(profile);
  Must(!filter.program.empty() && filter.program.size() <= 4096, "the kernel takes the program");
  uint64_t args[6] = {};
  memcpy(args, input.data(), std::min(input.size(), sizeof args));
  for (const int number : {0, 1, 9, 41, 56, 59, 101, 135, 231, 435, 500, 0x40000000, -1}) {
    Must(covey::SeccompVerdict(filter, number) == covey::SeccompVerdict(own, number), "the same verdict");
    Must(covey::SeccompVerdict(filter, number, args) == covey::SeccompVerdict(own, number, args),
         "the same verdict on arguments");
  }
}

void Devices(const std::string& input) {
  const std::vector<covey::DeviceRule> rules = covey::DeviceRulesOf(Json(input));
  Must(covey::DeviceProgram(rules).size() <= 4096, "the kernel takes the program");
  covey::DeviceLines(rules);
}

void Update(const std::string& input) {
  const auto current = [](const std::string& path) {
    return path.size() % 2 == 0 ? std::string("max\n") : std::string("4096\n");
  };
  for (const bool unified : {false, true}) {
    try {
      covey::PlanUpdate(Json(input), Layout(unified), "/covey/fuzz", current);
    } catch (const covey::InvalidInput&) {
      continue;  // the other version may take it
    }
  }
}

void IdMaps(const std::string& input) {
  const covey::IdMap map(nlohmann::json::parse(input, nullptr, false), "linux.uidMappings");
  Must(map.Lines().size() <= 4096, "the kernel takes the map in one page");
  map.HostId(0, "root");
}

void Mounts(const std::string& input) { covey::SortMountOptions(Parts(input, 8)); }

void CgroupsPath(const std::string& input) {
  const covey::CgroupName name = covey::ParseCgroupsPath(input, "/covey", "fuzz");
  Must(("/" + name.path + "/").find("/../") == std::string::npos, "a cgroup does not climb");
}

}  // namespace

const std::vector<Target> kOciTargets = {
    {"config", Config},
    {"leave", Leave},
    {"join", Join},
    {"exec", Exec},
    {"exec-stream", ExecStream},
    {"plan", PlanBytes},
    {"user", User},
    {"seccomp", Seccomp},
    {"devices", Devices},
    {"update", Update},
    {"id-maps", IdMaps},
    {"mounts", Mounts},
    {"cgroups-path", CgroupsPath},
};

}  // namespace covey_fuzz
