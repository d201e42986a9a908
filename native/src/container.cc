#include "container.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "process.h"
#include "sys_error.h"

namespace covey {
namespace {

// A shim answers in milliseconds; only a hung disk takes longer, and then the caller must get an error, not wait for ever.
constexpr timeval kAnswerTimeout{.tv_sec = 60, .tv_usec = 0};
constexpr size_t kAnswerMax = 4096;

/**
 * The shim's program as a sealed copy in memory: a container that gets hold of a process' executable cannot change the
 * file on disk (CVE-2019-5736), and an upgrade of the file changes no running shim. One copy serves all shims.
 */
const std::string& ShimExecutable(const std::string& path) {
  static const std::string executable = [&] {
    Fd file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) throw SysError{errno, "open", path};
    Fd memory{memfd_create("covey-shim", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!memory) return path;
    char chunk[65536];
    for (ssize_t n; (n = read(file.get(), chunk, sizeof chunk)) != 0;) {
      if (n < 0 || write(memory.get(), chunk, static_cast<size_t>(n)) != n) return path;
    }
    if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
      return path;
    return "/proc/self/fd/" + std::to_string(memory.Release());
  }();
  return executable;
}

/** What a spawned shim gets: nothing of ours but the descriptors named. `door` becomes 3, `extra` (or -1) 4. */
pid_t Spawn(const std::string& path, std::vector<std::string> args, int door, int extra) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  for (int fd = 0; fd < 3; fd++) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  if (door >= 0) posix_spawn_file_actions_adddup2(&actions, door, 3);
  if (extra >= 0) posix_spawn_file_actions_adddup2(&actions, extra, 4);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> argv;
  argv.reserve(args.size() + 1);
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  char* env[] = {nullptr};
  pid_t pid = 0;
  const std::string& executable = ShimExecutable(path);
  const int error = posix_spawn(&pid, executable.c_str(), &actions, &attributes, argv.data(), env);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) throw SysError{error, "posix_spawn", path};
  return pid;
}

/** Moves a descriptor out of the way of 3 and 4, onto which dup2 would otherwise trample. */
Fd Above(Fd fd) {
  if (fd.get() > 4) return fd;
  Fd moved{fcntl(fd.get(), F_DUPFD_CLOEXEC, 5)};
  if (!moved) throw SysError{errno, "fcntl"};
  return moved;
}

struct Pair {
  Fd ours;
  Fd theirs;
};

Pair MakePair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw SysError{errno, "socketpair"};
  Pair pair{Above(Fd{fds[0]}), Above(Fd{fds[1]})};
  setsockopt(pair.ours.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  return pair;
}

void SendAll(int fd, const std::string& text) {
  size_t sent = 0;
  while (sent < text.size()) {
    const ssize_t n = send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno, "send", "covey-shim"};
    sent += static_cast<size_t>(n);
  }
}

/** Everything until the other side closes, at most kAnswerMax bytes. */
std::string ReceiveAll(int fd) {
  std::string text;
  char chunk[1024];
  while (text.size() < kAnswerMax) {
    const ssize_t n = recv(fd, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno == EAGAIN ? ETIMEDOUT : errno, "recv", "covey-shim"};
    if (n == 0) break;
    text.append(chunk, static_cast<size_t>(n));
  }
  return text;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/** The lines of an answer after "ok"; an "error" answer becomes the SysError it describes. */
std::vector<std::string> Understand(const std::string& text) {
  std::vector<std::string> lines = Lines(text);
  if (!lines.empty() && lines[0] == "ok") {
    lines.erase(lines.begin());
    return lines;
  }
  if (lines.size() >= 4 && lines[0] == "error") {
    throw SysError{static_cast<int>(strtol(lines[1].c_str(), nullptr, 10)), lines[3],
                   lines.size() > 4 ? lines[4] : "", lines[2]};
  }
  throw SysError{EPROTO, "recv", "covey-shim", "",
                 text.empty() ? "it ended without an answer" : "unknown answer"};
}

pid_t PidIn(const std::string& text) { return static_cast<pid_t>(strtol(text.c_str(), nullptr, 10)); }
uint64_t TicksIn(const std::string& text) { return strtoull(text.c_str(), nullptr, 10); }

/** A connection to a shim's control socket. By descriptor: a socket's address ends at 108 bytes, a folder's path may not. */
Fd Connect(const std::string& state_dir) {
  Fd folder{open(state_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) throw SysError{errno, "open", state_dir};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", folder.get());
  Fd fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  if (!fd) throw SysError{errno, "socket"};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof kAnswerTimeout);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw SysError{errno, "connect", state_dir + "/control"};
  }
  return fd;
}

std::vector<std::string> Ask(int fd, const std::string& request) {
  char answer[kAnswerMax];
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) throw SysError{errno, "send", "covey-shim"};
  ssize_t n = 0;
  do n = recv(fd, answer, sizeof answer, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) throw SysError{errno == EAGAIN ? ETIMEDOUT : errno, "recv", "covey-shim"};
  return Understand(std::string(answer, static_cast<size_t>(n)));
}

}  // namespace

void Reap(pid_t pid, bool wait) {
  if (pid <= 0) return;
  while (waitpid(pid, nullptr, wait ? 0 : WNOHANG) < 0 && errno == EINTR) continue;
}

ContainerIdentity CreateContainer(const std::string& config, const CreateOptions& options) {
  const std::string plan = PlanContainer(config, options, HostCgroups(), BootId());
  Pair door = MakePair();
  const pid_t shim = Spawn(options.shim_path, {"covey-shim", options.id}, door.theirs.get(), -1);
  door.theirs.Reset();
  try {
    SendAll(door.ours.get(), plan);
    const std::vector<std::string> words = Understand(ReceiveAll(door.ours.get()));
    if (words.size() < 4) throw SysError{EPROTO, "recv", "covey-shim"};
    return {PidIn(words[0]), TicksIn(words[1]), PidIn(words[2]), TicksIn(words[3]), "created"};
  } catch (...) {
    // A shim that cannot answer undoes its work and ends by itself; one that hangs is ended, and its first process,
    // which has it as parent, with it.
    door.ours.Reset();
    for (int round = 0; waitpid(shim, nullptr, WNOHANG) == 0; round++) {
      if (round == 200) kill(shim, SIGKILL);
      usleep(5000);
    }
    throw;
  }
}

void StartContainer(const std::string& state_dir) {
  const Fd fd = Connect(state_dir);
  Ask(fd.get(), "covey 1 start");
}

std::optional<ContainerIdentity> IdentifyContainer(const std::string& state_dir) {
  nlohmann::json state;
  try {
    state = nlohmann::json::parse(ReadSmallFile(state_dir + "/state.json"), nullptr, false);
  } catch (const SysError& e) {
    if (e.error() == ENOENT || e.error() == ENOTDIR) return std::nullopt;
    throw;
  }
  if (!state.is_object() || state.value("bootId", "") != BootId()) return std::nullopt;
  ContainerIdentity found{state.value("pid", 0), state.value("startTime", uint64_t{0}),
                          state.value("shimPid", 0), state.value("shimStartTime", uint64_t{0}), ""};
  if (!OpenProcess(found.shim_pid, found.shim_start_time)) return std::nullopt;
  try {
    const Fd fd = Connect(state_dir);
    const std::vector<std::string> words = Ask(fd.get(), "covey 1 hello");
    if (words.size() < 5 || PidIn(words[2]) != found.pid || TicksIn(words[3]) != found.start_time) {
      throw SysError{EPROTO, "recv", state_dir + "/control", "", "another container answers here"};
    }
    found.life = words[4];
  } catch (const SysError& e) {
    // It has just ended: its socket is gone or closed in our face, and exit.json is there or about to be.
    if (e.error() == ENOENT || e.error() == ECONNREFUSED || e.error() == ECONNRESET || e.error() == EPROTO) {
      if (!OpenProcess(found.shim_pid, found.shim_start_time)) return std::nullopt;
      if (e.error() == ENOENT || e.error() == ECONNRESET) {
        found.life = "exited";
        return found;
      }
    }
    throw;
  }
  return found;
}

ExecHandle StartExec(pid_t pid, uint64_t start_time, const std::string& process, const ExecOptions& options,
                     const std::string& shim_path) {
  const std::string plan = PlanExec(process, options, HostCgroups());
  Fd target = OpenProcess(pid, start_time);
  if (!target) throw SysError{ESRCH, "pidfd_open", std::to_string(pid)};
  target = Above(std::move(target));
  Pair door = MakePair();
  ExecHandle handle{std::move(door.ours), 0};
  handle.helper = Spawn(shim_path, {"covey-shim", "--exec"}, door.theirs.get(), target.get());
  door.theirs.Reset();
  try {
    SendAll(handle.answer.get(), plan);
  } catch (...) {
    kill(handle.helper, SIGKILL);
    Reap(handle.helper, true);
    throw;
  }
  fcntl(handle.answer.get(), F_SETFL, O_NONBLOCK);
  return handle;
}

ExecResult ParseExecAnswer(const std::string& text) {
  if (text.rfind("ok\n", 0) != 0) Understand(text);
  const size_t code_end = text.find('\n', 3);
  const size_t flag_end = code_end == std::string::npos ? code_end : text.find('\n', code_end + 1);
  if (flag_end == std::string::npos) throw SysError{EPROTO, "recv", "covey-shim", "", "unknown answer"};
  return {static_cast<int>(strtol(text.c_str() + 3, nullptr, 10)), text[code_end + 1] == '1',
          text.substr(flag_end + 1)};
}

pid_t SpawnHolder(const std::string& shim_path) { return Spawn(shim_path, {"covey-shim", "--hold"}, -1, -1); }

}  // namespace covey
