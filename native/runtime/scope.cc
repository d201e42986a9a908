#include "scope.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <vector>

#include "../src/cgroup.h"
#include "../src/cgroup_files.h"
#include "../src/container.h"

extern char** environ;

namespace covey {
namespace {

constexpr char kStep[] = "asking systemd for a scope";
constexpr char kSystemd[] = "/run/systemd/system";
/** systemd makes the scope as a job after it has answered; it takes milliseconds. */
constexpr std::chrono::seconds kMakeTimeout{10};
constexpr size_t kComplaintMax = 4096;

/** Runs busctl to its end. Throws SysError with what it wrote to stderr when it fails. */
void RunBusctl(std::vector<std::string> args) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw SysError{errno, "pipe2", "", kStep};
  Fd reader{ends[0]}, writer{ends[1]};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), 2);
  std::vector<char*> argv;
  argv.reserve(args.size() + 1);
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw SysError{error, "posix_spawn", args[0], kStep};
  writer.Reset();
  std::string complaint;
  char chunk[512];
  for (ssize_t n; (n = read(reader.get(), chunk, sizeof chunk)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    if (complaint.size() < kComplaintMax) complaint.append(chunk, static_cast<size_t>(n));
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (status != 0) throw SysError{EPROTO, "busctl", "", kStep, SplitText(complaint + "\n", '\n')[0]};
}

/** Whether one of the process' cgroups is that path. */
bool IsIn(pid_t pid, const std::string& path) {
  for (const std::string& line : SplitText(TryReadFile("/proc/" + std::to_string(pid) + "/cgroup"), '\n')) {
    const size_t at = line.find(':', line.find(':') + 1);
    if (at != std::string::npos && line.compare(at + 1, std::string::npos, path) == 0) return true;
  }
  return false;
}

/** Where systemd keeps its units on hosts with v1: "name=systemd", and beside it v2 without controllers. */
std::vector<std::string> OwnHierarchies() {
  std::vector<std::string> mounts;
  for (const std::string& line : SplitText(ReadSmallFile("/proc/self/mountinfo"), '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::string type = SplitText(line.substr(dash + 3), ' ')[0];
    const bool is_named = type == "cgroup" && line.find("name=systemd", dash) != std::string::npos;
    if (is_named || type == "cgroup2") mounts.push_back(SplitText(line, ' ')[4]);
  }
  return mounts;
}

}  // namespace

bool HasSystemd() { return PathExists(kSystemd); }

Scope::Scope(const std::string& shim, const CgroupName& name) : name_(name), holder_(SpawnHolder(shim)) {
  try {
    Make();
    AwaitHolder();
    MakeRoom();
  } catch (...) {
    LetGo();
    throw;
  }
}

Scope::~Scope() { LetGo(); }

void Scope::Make() {
  // busctl's words: method, signature, name, mode, six properties, no auxiliary units.
  RunBusctl({"busctl", "call", "--quiet", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
             "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name_.unit.scope,
             "fail", "6", "PIDs", "au", "1", std::to_string(holder_), "Delegate", "b", "true", "Slice", "s",
             name_.unit.slice, "Description", "s", "container " + name_.unit.scope,
             // What failed is not kept, and the host's end does not stop it before whoever manages it.
             "CollectMode", "s", "inactive-or-failed", "DefaultDependencies", "b", "false", "0"});
}

void Scope::AwaitHolder() {
  const auto deadline = std::chrono::steady_clock::now() + kMakeTimeout;
  while (!IsIn(holder_, name_.path)) {
    if (std::chrono::steady_clock::now() > deadline)
      throw SysError{ETIMEDOUT, "StartTransientUnit", name_.unit.scope, kStep};
    PauseBriefly();
  }
}

void Scope::MakeRoom() {
  const CgroupLayout& layout = HostCgroups();
  // On v1 processes may sit anywhere.
  if (!layout.unified) return;
  const std::string folder = layout.unified_mount + name_.path;
  // A cgroup that hands controllers on takes no process itself.
  if (mkdir((folder + "/hold").c_str(), 0755) != 0) throw SysError{errno, "mkdir", folder + "/hold", kStep};
  WriteSmallFile(folder + "/hold/cgroup.procs", std::to_string(holder_));
  HandControllersOn(folder);
}

void Scope::Adopt(pid_t pid) const {
  if (HostCgroups().unified) return;
  for (const std::string& mount : OwnHierarchies()) {
    const std::string folder = mount + name_.path;
    if (PathExists(folder)) WriteSmallFile(folder + "/cgroup.procs", std::to_string(pid));
  }
}

void Scope::LetGo() {
  kill(holder_, SIGKILL);
  while (waitpid(holder_, nullptr, 0) < 0 && errno == EINTR) continue;
  const CgroupLayout& layout = HostCgroups();
  if (layout.unified) rmdir((layout.unified_mount + name_.path + "/hold").c_str());
}

}  // namespace covey
