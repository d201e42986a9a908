// A config's system call filter recognised by its text: the same plan as by parsing the whole, whatever the text.
#include "units_cut.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "../src/oci_cut.h"
#include "../src/oci_plan.h"
#include "../src/sys_error.h"

namespace units_cut {
namespace {

using nlohmann::json;

int failures = 0;

void Expect(bool ok, const char* what) {
  if (ok) return;
  printf("failed: %s\n", what);
  failures++;
}

/** A profile long enough to be cut out, with all that a walk over text may stumble on. */
std::string Profile(const std::string& action) {
  json names = json::array({"execve", "capset", "a\"]}", "b\\", "{[", "\\\"", "c\u00e9"});
  for (int i = 0; i < 200; i++) names.push_back("unknown" + std::to_string(i));
  return json{{"defaultAction", "SCMP_ACT_ERRNO"},
              {"syscalls", json::array({json{{"names", names}, {"action", action}}})}}
      .dump(1);
}

std::string Config(const std::string& seccomp, const std::string& more = "") {
  return R"( { "process" : {"args": ["/x", "\"linux\":{"], "cwd": "/"}, "root": {"path": "/r"},
  "annotations": {"linux": {"seccomp": 1}, "x": [true, null, -1.5e3, "}"]}, "linux":{"cgroupsPath": "/c",
  "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}, {"type": "cgroup"}],
  "seccomp" : )" +
         seccomp + more + R"( , "resources": {} } , "hostname": "h" } )";
}

covey::CgroupLayout Layout() {
  return covey::ParseMountInfo("30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
}

covey::CreateOptions Options() {
  covey::CreateOptions options;
  options.id = "a";
  options.state_dir = "/s";
  return options;
}

std::string PlanOf(const std::string& config) {
  return covey::PlanContainer(config, Options(), Layout(), "boot");
}

std::string Refusal(const std::string& config) {
  try {
    PlanOf(config);
  } catch (const covey::InvalidInput& e) {
    return e.field();
  }
  return "";
}

void Same() {
  const std::string profile = Profile("SCMP_ACT_ALLOW"), config = Config(profile);
  const auto cut = covey::CutSeccomp(config);
  Expect(cut.has_value() && cut->seccomp == profile, "the profile is cut out as it is written");
  if (!cut) return;
  json put_back = json::parse(cut->rest);
  Expect(put_back["linux"]["seccomp"].is_null(), "null is in its place");
  put_back["linux"]["seccomp"] = json::parse(cut->seccomp);
  Expect(put_back == json::parse(config), "nothing else is changed");
  const std::string parsed = covey::PlanParsed(json::parse(config), Options(), Layout(), "boot");
  Expect(PlanOf(config) == parsed && PlanOf(config) == parsed, "the plan is that of the whole, each time");
  Expect(PlanOf(json::parse(config).dump()) == parsed, "however it is written");
  Expect(PlanOf(Config("null")) != parsed, "which a plan without a filter is not");
}

void Whole() {
  const std::string profile = Profile("SCMP_ACT_ALLOW");
  for (const std::string& plain :
       {std::string("{}"), Config("{}"), Config("null"), Config("[" + profile + "]"), std::string("[]"),
        Config(profile, ", \"seccomp\": {}"), Config(profile, ", \"\\u0073eccomp\": {}"),
        Config(profile.substr(0, profile.size() - 1)), std::string("{\"linux\""),
        std::string("{\"linux\": {"), R"({"\u006cinux": {}, "linux": {"seccomp": )" + profile + "}}",
        R"({"linux": {"seccomp": )" + profile + R"(}, "linux": {}})"})
    Expect(!covey::CutSeccomp(plain), plain.c_str());
}

void Refused() {
  Expect(Refusal(Config(Profile("SCMP_ACT_ALLOW") + "x")) == "config", "what is no JSON after the profile");
  std::string broken = Profile("SCMP_ACT_ALLOW");
  broken.replace(broken.find("unknown7"), 1, "\x01");
  Expect(Refusal(Config(broken)) == "config", "what is no JSON in the profile");
  Expect(Refusal(Config(Profile("SCMP_ACT_NONE"))) == "linux.seccomp.action", "an unknown action");
  Expect(Refusal(Config(Profile("SCMP_ACT_KILL"))) == "linux.seccomp", "a filter that nothing starts under");
  const std::string empty = "{" + std::string(2000, ' ') + "}";
  Expect(PlanOf(Config(empty)) == PlanOf(Config("null")), "an empty profile is none");
}

}  // namespace

int Failures() {
  Same();
  Whole();
  Refused();
  return failures;
}

}  // namespace units_cut
