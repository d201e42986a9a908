// covey-runtime: the core behind the OCI runtime command line, for podman, containerd and whoever else speaks it.
//
// What comes in: a bundle and a command. What goes out: the container, ROOT/ID, exit status 0, or 1 with the reason in
// the log and on stderr. It keeps nothing running: the shim makes the container and ends.
#include <limits.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "../src/sys_error.h"
#include "arguments.h"
#include "record.h"
#include "runtime.h"

namespace covey {
namespace {

constexpr const char* kVersion = "0.1.0";
constexpr const char* kDefaultRoot = "/run/covey-runtime";

struct Command {
  const char* name;
  int (*run)(const Runtime&, const Arguments&);
  std::vector<Option> options;
  Operands operands;
  const char* usage;
};

const std::vector<Option>& GlobalOptions() {
  static const std::vector<Option> options = {{"root", '\0', true},
                                              {"log", '\0', true},
                                              {"log-format", '\0', true},
                                              {"debug", '\0', false},
                                              {"systemd-cgroup", '\0', false},
                                              {"cgroup-manager", '\0', true},
                                              {"rootless", '\0', true},
                                              {"version", 'v', false},
                                              {"help", 'h', false}};
  return options;
}

const std::vector<Command>& Commands() {
  static const std::vector<Option> make = {{"bundle", 'b', true},        {"console-socket", '\0', true},
                                           {"pid-file", '\0', true},     {"preserve-fds", '\0', true},
                                           {"no-pivot", '\0', false},    {"no-new-keyring", '\0', false},
                                           {"no-subreaper", '\0', false}};
  static const std::vector<Option> run = [] {
    std::vector<Option> options = make;
    options.push_back({"detach", 'd', false});
    options.push_back({"keep", '\0', false});
    return options;
  }();
  static const std::vector<Option> exec = {{"process", 'p', true},
                                           {"tty", 't', false},
                                           {"console-socket", '\0', true},
                                           {"detach", 'd', false},
                                           {"pid-file", '\0', true},
                                           {"user", 'u', true},
                                           {"env", 'e', true},
                                           {"cwd", '\0', true},
                                           {"additional-gids", 'g', true},
                                           {"cap", 'c', true},
                                           {"no-new-privs", '\0', false},
                                           {"apparmor", '\0', true},
                                           {"process-label", '\0', true},
                                           {"preserve-fds", '\0', true},
                                           {"ignore-paused", '\0', false}};
  static const std::vector<Option> update = {
      {"resources", 'r', true},           {"blkio-weight", '\0', true}, {"cpu-period", '\0', true},
      {"cpu-quota", '\0', true},          {"cpu-burst", '\0', true},    {"cpu-share", '\0', true},
      {"cpuset-cpus", '\0', true},        {"cpuset-mems", '\0', true},  {"memory", '\0', true},
      {"memory-reservation", '\0', true}, {"memory-swap", '\0', true},  {"pids-limit", '\0', true}};
  static const std::vector<Command> commands = {
      {"create", Create, make, Operands::kMixed, "ID: make a container from a bundle"},
      {"start", Start, {}, Operands::kMixed, "ID: run its process"},
      {"run", Run, run, Operands::kMixed, "ID: create, start, wait, delete"},
      {"state", State, {}, Operands::kMixed, "ID: its state as JSON"},
      {"kill", Kill, {{"all", 'a', false}, {"signal", 's', true}}, Operands::kMixed, "ID [SIGNAL]"},
      {"delete", Delete, {{"force", 'f', false}}, Operands::kMixed, "ID: remove a stopped container"},
      {"exec", Exec, exec, Operands::kRest, "ID COMMAND…: one more process"},
      {"list", List, {{"format", 'f', true}, {"quiet", 'q', false}}, Operands::kMixed, "every container"},
      {"ps", Processes, {{"format", 'f', true}}, Operands::kMixed, "ID: its processes"},
      {"events",
       Events,
       {{"stats", '\0', false}, {"interval", '\0', true}},
       Operands::kMixed,
       "ID: statistics"},
      {"pause", Pause, {}, Operands::kMixed, "ID: freeze it"},
      {"resume", Resume, {}, Operands::kMixed, "ID: thaw it"},
      {"update", Update, update, Operands::kMixed, "ID: change its limits"},
      {"features", Features, {}, Operands::kMixed, "what this runtime can, as JSON"},
      {"spec", Spec, {{"bundle", 'b', true}}, Operands::kMixed, "write a config.json to start from"},
  };
  return commands;
}

std::string Help() {
  std::string text =
      "usage: covey-runtime [--root DIR] [--log FILE] [--log-format text|json] [--debug] COMMAND\n\n";
  for (const Command& command : Commands())
    text += "  " + std::string(command.name) + " " + command.usage + "\n";
  return text;
}

std::string ShimBesideUs() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  if (n <= 0) throw SysError{errno, "readlink", "/proc/self/exe"};
  const std::string own(path, static_cast<size_t>(n));
  return own.substr(0, own.rfind('/')) + "/covey-shim";
}

void CheckManager(const Arguments& global) {
  const std::string manager = global.Value("cgroup-manager", "cgroupfs");
  if (manager != "cgroupfs" && manager != "systemd" && manager != "disabled")
    throw UsageError("--cgroup-manager must be cgroupfs or systemd, not \"" + manager + "\"");
  if (manager == "disabled")
    throw UsageError("--cgroup-manager disabled is refused: every container has a cgroup");
}

const Command& CommandNamed(const std::string& name) {
  for (const Command& command : Commands()) {
    if (name == command.name) return command;
  }
  if (name == "checkpoint" || name == "restore")
    throw UsageError(name +
                     " is not supported: this runtime has no CRIU; stop and start the container instead");
  throw UsageError("unknown command \"" + name + "\"; --help lists them");
}

std::string Explain(const SysError& e) {
  std::string text = e.step();
  const auto add = [&](const std::string& part) {
    if (!part.empty()) text += (text.empty() ? "" : ": ") + part;
  };
  // A hook's own failure is no system call's.
  if (e.syscall() != "hook") add(e.syscall());
  add(e.path());
  if (e.syscall() != "hook") add(strerror(e.error()));
  add(e.detail());
  return text;
}

/** Global options, then the command with its own. */
int Dispatch(const std::vector<std::string>& words, Log& log) {
  size_t at = 0;
  const Arguments global(words, at, GlobalOptions(), Operands::kLeft);
  log = Log{global.Value("log"), global.Value("log-format", "text"), global.Has("debug")};
  if (global.Has("version")) {
    Print("covey-runtime version " + std::string(kVersion) + "\nspec: " + kSpecVersion + "\n");
    return 0;
  }
  if (global.Has("help") || at == words.size()) {
    Print(Help());
    return at == words.size() && !global.Has("help") ? 1 : 0;
  }
  CheckManager(global);
  const Command& command = CommandNamed(words[at++]);
  const Arguments arguments(words, at, command.options, command.operands);
  const Runtime runtime{
      .root = global.Value("root", kDefaultRoot),
      .shim = ShimBesideUs(),
      .systemd_cgroup = global.Has("systemd-cgroup") || global.Value("cgroup-manager") == "systemd",
      .log = log};
  return command.run(runtime, arguments);
}

int Main(const std::vector<std::string>& words) {
  Log log;
  try {
    return Dispatch(words, log);
  } catch (const SysError& e) {
    log.Say(Level::kError, Explain(e));
  } catch (const InvalidInput& e) {
    log.Say(Level::kError, "config: " + e.field() + " " + e.what());
  } catch (const std::exception& e) {
    log.Say(Level::kError, e.what());
  }
  return 1;
}

}  // namespace
}  // namespace covey

int main(int argc, char** argv) { return covey::Main({argv + 1, argv + argc}); }
