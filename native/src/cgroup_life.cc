// Killing, pausing and resuming everything in a cgroup. Source: kernel docs, cgroup-v1/freezer-subsystem and cgroup-v2,
// "Core Interface Files".
#include <signal.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "cgroup.h"
#include "cgroup_files.h"

namespace covey {
namespace {

// A fork bomb may outrun one pass, but not one in which everything stands still.
constexpr int kKillRoundsMax = 200;
constexpr int kUnfrozenRounds = 2;
// A process in an uninterruptible call freezes when that ends, on a hung disk never.
constexpr std::chrono::seconds kFreezeTimeout{10};

/** v1: a cgroup below may have been frozen by itself, and a frozen process does not die. */
void ThawBelow(const std::string& folder) {
  for (const std::string& name : FoldersIn(folder)) ThawBelow(folder + "/" + name);
  TryWriteFile(folder + "/freezer.state", "THAWED");
}

std::string FreezerFolder(const std::string& path) {
  std::string folder = HostCgroups().FolderOf("freezer", path);
  if (folder.empty()) {
    throw SysError{EOPNOTSUPP, "write", path, "pausing", "this host has no cgroup controller \"freezer\""};
  }
  return folder;
}

bool IsFrozen(const std::string& folder) {
  if (!HostCgroups().unified) return ReadSmallFile(folder + "/freezer.state") == "FROZEN\n";
  return ReadSmallFile(folder + "/cgroup.events").find("frozen 1") != std::string::npos;
}

void SetFrozen(const std::string& folder, bool frozen) {
  if (HostCgroups().unified)
    WriteSmallFile(folder + "/cgroup.freeze", frozen ? "1" : "0");
  else
    WriteSmallFile(folder + "/freezer.state", frozen ? "FROZEN" : "THAWED");
}

}  // namespace

int KillBelow(const std::string& folder) {
  int count = 0;
  for (const std::string& name : FoldersIn(folder)) count += KillBelow(folder + "/" + name);
  for (const std::string& line : SplitText(TryReadFile(folder + "/cgroup.procs"), '\n')) {
    const pid_t pid = static_cast<pid_t>(strtol(line.c_str(), nullptr, 10));
    if (pid <= 1 || pid == getpid()) continue;
    kill(pid, SIGKILL);
    count++;
  }
  return count;
}

void KillCgroup(const std::string& path) {
  const std::string folder = HostCgroups().FolderOf("freezer", path);
  if (folder.empty() || !PathExists(folder)) return;
  if (TryWriteFile(folder + "/cgroup.kill", "1")) return;
  for (int round = 0; round < kKillRoundsMax; round++) {
    // The freezer stops what outruns us by forking. Its first use on a host patches the running kernel on every processor,
    // so what dies at once is not frozen.
    if (round >= kUnfrozenRounds) TryWriteFile(folder + "/freezer.state", "FROZEN");
    const int count = KillBelow(folder);
    // Nobody there: nobody waits to be thawed, unless that is how we have seen it.
    if (count == 0 && round < kUnfrozenRounds) return;
    ThawBelow(folder);
    if (count == 0) return;
    PauseBriefly();
  }
}

void SignalCgroup(const std::string& path, int number) {
  if (number == SIGKILL) return KillCgroup(path);
  const std::string folder = HostCgroups().FolderOf("freezer", path);
  if (folder.empty() || !PathExists(folder)) return;
  for (const std::string& name : ListCgroups(path)) SignalCgroup(path + "/" + name, number);
  for (const std::string& line : SplitText(TryReadFile(folder + "/cgroup.procs"), '\n')) {
    const pid_t pid = static_cast<pid_t>(strtol(line.c_str(), nullptr, 10));
    if (pid <= 1 || pid == getpid()) continue;
    if (kill(pid, number) != 0 && errno != ESRCH) throw SysError{errno, "kill", std::to_string(pid)};
  }
}

void PauseCgroup(const std::string& path) {
  const std::string folder = FreezerFolder(path);
  SetFrozen(folder, true);
  const auto deadline = std::chrono::steady_clock::now() + kFreezeTimeout;
  while (!IsFrozen(folder)) {
    if (std::chrono::steady_clock::now() > deadline) {
      SetFrozen(folder, false);
      throw SysError{ETIMEDOUT, "freeze", folder, "pausing",
                     "a process of it is in a call that cannot be interrupted"};
    }
    PauseBriefly();
    // v1 forgets processes that were born while it froze: it looks at them again when told again.
    SetFrozen(folder, true);
  }
}

void ResumeCgroup(const std::string& path) { SetFrozen(FreezerFolder(path), false); }

bool IsCgroupPaused(const std::string& path) {
  const std::string folder = HostCgroups().FolderOf("freezer", path);
  if (folder.empty() || !PathExists(folder)) return false;
  if (HostCgroups().unified) return TryReadFile(folder + "/cgroup.freeze") == "1\n";
  return TryReadFile(folder + "/freezer.state").rfind("THAWED", 0) != 0;
}

}  // namespace covey
