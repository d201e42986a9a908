#include "shim_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string_view>

#include "sys_error.h"

namespace covey {
namespace {

/** What a shim gets for ending by itself, undoing what it has made. */
constexpr int kLastWordsMs = 1000;
constexpr size_t kPlanHeaderBytes = 8;
constexpr size_t kPlanMessageBytes = 65536;

/** A sealed copy of the program in memory; -1 when this host gives none, and the file itself must do. */
int SealedCopy(const std::string& path) {
  Fd file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) throw SysError{errno, "open", path};
  Fd memory{memfd_create("covey-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!memory) return -1;
  char chunk[65536];
  for (ssize_t n; (n = read(file.get(), chunk, sizeof chunk)) != 0;) {
    if (n < 0 || write(memory.get(), chunk, static_cast<size_t>(n)) != n) return -1;
  }
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return -1;
  return memory.Release();
}

/**
 * The shim's program as a sealed copy in memory: a container that gets hold of a process' executable cannot change the
 * file on disk (CVE-2019-5736), and an upgrade of the file changes no running shim. One copy serves all shims; it is moved
 * when it lies where the shim's own descriptors will, up to `last`.
 */
std::string ShimExecutable(const std::string& path, int last) {
  static Fd copy{SealedCopy(path)};
  if (!copy) return path;
  // Only a program with few descriptors gets here, covey-runtime, which has one thread.
  if (copy.get() <= last) copy = Above(std::move(copy), last);
  return "/proc/self/fd/" + std::to_string(copy.get());
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

}  // namespace

pid_t SpawnShim(const ShimSpawn& spawn) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  for (int fd = 0; fd < 3 && !spawn.inherits_stdio; fd++) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  for (int fd = 0; fd < 3; fd++) {
    const int given = spawn.stdio[static_cast<size_t>(fd)];
    if (given >= 0) posix_spawn_file_actions_adddup2(&actions, given, fd);
  }
  int place = 3;
  for (const int fd : spawn.fds) posix_spawn_file_actions_adddup2(&actions, fd, place++);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  // Not a session: the kernel weighs each against all others (autogroup), which makes starts wait for one another. What a
  // terminal sends to ours is of no matter to a shim, which blocks every signal.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> args = spawn.args;
  std::vector<char*> argv;
  argv.reserve(args.size() + 1);
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  char* env[] = {nullptr};
  pid_t pid = 0;
  const std::string executable = ShimExecutable(spawn.path, 2 + static_cast<int>(spawn.fds.size()));
  const int error = posix_spawn(&pid, executable.c_str(), &actions, &attributes, argv.data(), env);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw SysError{error, "posix_spawn", spawn.path};
  return pid;
}

Fd Above(Fd fd, int last) {
  if (fd.get() > last) return fd;
  Fd moved{fcntl(fd.get(), F_DUPFD_CLOEXEC, last + 1)};
  if (!moved) throw SysError{errno, "fcntl"};
  return moved;
}

Door MakeDoor(int last, int type) {
  int fds[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) throw SysError{errno, "socketpair"};
  Door door{Above(Fd{fds[0]}, last), Above(Fd{fds[1]}, last)};
  setsockopt(door.ours.get(), SOL_SOCKET, SO_RCVTIMEO, &kShimAnswerTimeout, sizeof kShimAnswerTimeout);
  return door;
}

namespace {

void SendAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno, "send", "covey-shim"};
    text.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

void SendPlan(int fd, const std::string& plan) {
  // A message is read whole or lost: first how much there is, then as much as every socket's buffer takes.
  const std::string_view all = plan;
  SendAll(fd, all.substr(0, kPlanHeaderBytes));
  for (size_t at = kPlanHeaderBytes; at < all.size(); at += kPlanMessageBytes)
    SendAll(fd, all.substr(at, kPlanMessageBytes));
}

namespace {

std::string Receive(int fd, bool until_newline) {
  std::string text;
  char chunk[1024];
  while (text.size() < kShimAnswerMax && !(until_newline && !text.empty() && text.back() == '\n')) {
    const ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno == EAGAIN ? ETIMEDOUT : errno, "recv", "covey-shim"};
    if (n == 0) break;
    text.append(chunk, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

std::string ReceiveAll(int fd) { return Receive(fd, false); }

std::string ReceiveAnswer(int fd) { return Receive(fd, true); }

pid_t PidIn(const std::string& text) { return static_cast<pid_t>(strtol(text.c_str(), nullptr, 10)); }

std::vector<std::string> Understand(const std::string& text) {
  std::vector<std::string> lines = Lines(text);
  if (!lines.empty() && lines[0] == "ok") {
    lines.erase(lines.begin());
    return lines;
  }
  const int error = lines.size() >= 4 && lines[0] == "error" ? PidIn(lines[1]) : 0;
  if (error > 0) throw SysError{error, lines[3], lines.size() > 4 ? lines[4] : "", lines[2]};
  throw SysError{EPROTO, "recv", "covey-shim", "",
                 text.empty() ? "it ended without an answer" : "unknown answer"};
}

uint64_t TicksIn(const std::string& text) { return strtoull(text.c_str(), nullptr, 10); }

int EndShim(pid_t shim) {
  const Fd alive{static_cast<int>(syscall(SYS_pidfd_open, shim, 0))};
  pollfd end{alive.get(), POLLIN, 0};
  int ends = 0;
  do ends = poll(&end, 1, kLastWordsMs);
  while (ends < 0 && errno == EINTR);
  const bool is_ours = ends == 0 && kill(shim, SIGKILL) == 0;
  int status = 0;
  while (waitpid(shim, &status, 0) < 0 && errno == EINTR) continue;
  return WIFSIGNALED(status) && !is_ours ? WTERMSIG(status) : 0;
}

}  // namespace covey
