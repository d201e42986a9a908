#include "container.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "process.h"
#include "shim_process.h"
#include "shim_template.h"
#include "sys_error.h"

namespace covey {
namespace {

/** A connection to a shim's control socket. By descriptor: a socket's address ends at 108 bytes, a folder's path may not. */
Fd Connect(const std::string& state_dir) {
  Fd folder{open(state_dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) throw SysError{errno, "open", state_dir};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control", folder.get());
  Fd fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  if (!fd) throw SysError{errno, "socket"};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kShimAnswerTimeout, sizeof kShimAnswerTimeout);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw SysError{errno, "connect", state_dir + "/control"};
  }
  return fd;
}

void Say(int fd, const std::string& request) {
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) throw SysError{errno, "send", "covey-shim"};
}

/** A request with two descriptors. Source: unix(7), SCM_RIGHTS. */
void SendWith(int fd, const std::string& request, const std::array<int, 2>& descriptors) {
  std::array<char, CMSG_SPACE(sizeof descriptors)> control{};
  iovec iov{.iov_base = const_cast<char*>(request.data()), .iov_len = request.size()};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof descriptors);
  memcpy(CMSG_DATA(rights), descriptors.data(), sizeof descriptors);
  if (sendmsg(fd, &header, MSG_NOSIGNAL) < 0) throw SysError{errno, "sendmsg", "covey-shim"};
}

std::vector<std::string> Hear(int fd) {
  char answer[kShimAnswerMax];
  ssize_t n = 0;
  do n = recv(fd, answer, sizeof answer, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) throw SysError{errno == EAGAIN ? ETIMEDOUT : errno, "recv", "covey-shim"};
  return Understand(std::string(answer, static_cast<size_t>(n)));
}

std::vector<std::string> Ask(int fd, const std::string& request) {
  Say(fd, request);
  return Hear(fd);
}

}  // namespace

bool Reap(pid_t pid, bool wait) {
  if (pid <= 0) return true;
  pid_t reaped = 0;
  do reaped = waitpid(pid, nullptr, wait ? 0 : WNOHANG);
  while (reaped < 0 && errno == EINTR);
  return reaped != 0;
}

NewContainer BeginContainer(const std::string& config, const CreateOptions& options) {
  Door door = MakeDoor(4, SOCK_SEQPACKET);
  const ShimTemplate::Copy copy = ShimTemplate::Begin(options.shim_path, options.id, door.theirs.get());
  door.theirs.Reset();
  std::exception_ptr failure;
  try {
    // While the shim is made. One that is never given a plan ends by itself.
    SendPlan(door.ours.get(), PlanContainer(config, options, HostCgroups(), BootId()));
  } catch (...) {
    failure = std::current_exception();
    door.ours.Reset();
  }
  const pid_t shim = copy.Take();
  if (failure) GiveUpContainer(shim, failure);
  fcntl(door.ours.get(), F_SETFL, O_NONBLOCK);
  return {std::move(door.ours), shim, options.state_dir};
}

ContainerIdentity UnderstandContainer(const std::string& answer) {
  const std::vector<std::string> words = Understand(answer);
  if (words.size() < 4) throw SysError{EPROTO, "recv", "covey-shim"};
  return {PidIn(words[0]), TicksIn(words[1]), PidIn(words[2]), TicksIn(words[3]), "created"};
}

void GiveUpContainer(pid_t shim, const std::exception_ptr& failure) {
  if (const int signal = EndShim(shim)) {
    // Killed by others, such as the OOM killer, it left no answer; that is the cause to tell.
    throw SysError{ECHILD, "waitpid", "covey-shim", "making the container",
                   "it was killed by signal " + std::to_string(signal)};
  }
  std::rethrow_exception(failure);
}

Listening AttachContainer(const std::string& state_dir, bool feeds) {
  int io[2] = {-1, -1}, err[2] = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io) != 0) throw SysError{errno, "socketpair"};
  Listening listening{.io = Fd{io[0]}};
  const Fd their_io{io[1]};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, err) != 0) throw SysError{errno, "socketpair"};
  listening.err = Fd{err[0]};
  const Fd their_err{err[1]};
  const Fd fd = Connect(state_dir);
  SendWith(fd.get(), std::string(kShimLanguage) + (feeds ? "attach 1" : "attach 0"),
           {their_io.get(), their_err.get()});
  const std::vector<std::string> words = Hear(fd.get());
  if (words.size() < 2)
    throw SysError{EBADMSG, "recv", state_dir + "/control", "", "it does not say what it is"};
  listening.is_terminal = words[0] == "1";
  listening.takes_input = words[1] == "1";
  return listening;
}

void ResizeContainer(const std::string& state_dir, uint16_t rows, uint16_t columns) {
  const Fd fd = Connect(state_dir);
  Ask(fd.get(),
      std::string(kShimLanguage) + "resize " + std::to_string(rows) + " " + std::to_string(columns));
}

namespace {

/** Words of an answer to hello or attend: version, boot id, pid, start time, life, and from version 2 on the run. */
void CheckIdentity(const std::vector<std::string>& words, const std::string& state_dir,
                   ContainerIdentity& found) {
  if (words.size() < 5) {
    throw SysError{EBADMSG, "recv", state_dir + "/control", "", "another container answers here"};
  }
  const bool may_change = words.size() > 5;
  const bool is_same = PidIn(words[2]) == found.pid && TicksIn(words[3]) == found.start_time;
  // Between our look at state.json and its answer the shim may have run the container again.
  if (!is_same && !may_change) {
    throw SysError{EBADMSG, "recv", state_dir + "/control", "", "another container answers here"};
  }
  found.pid = PidIn(words[2]);
  found.start_time = TicksIn(words[3]);
  found.life = words[4];
  if (may_change) found.run = static_cast<uint32_t>(TicksIn(words[5]));
}

/** Asks who it is, as one who attends or not. Empty when it is a shim of version 1, which cannot be attended. */
Fd AskWho(Fd fd, const char* verb, std::vector<std::string>& words) {
  try {
    words = Ask(fd.get(), std::string(kShimLanguage) + verb);
    return fd;
  } catch (const SysError& e) {
    if (e.error() != ENOSYS) throw;
    words = Ask(fd.get(), "covey 1 hello");
    return Fd{};
  }
}

std::optional<ContainerIdentity> IdentityOnDisk(const std::string& state_dir) {
  nlohmann::json state;
  try {
    state = nlohmann::json::parse(ReadSmallFile(state_dir + "/state.json"), nullptr, false);
  } catch (const SysError& e) {
    if (e.error() == ENOENT || e.error() == ENOTDIR) return std::nullopt;
    throw;
  }
  if (!state.is_object() || state.value("bootId", "") != BootId()) return std::nullopt;
  ContainerIdentity found{state.value("pid", 0),
                          state.value("startTime", uint64_t{0}),
                          state.value("shimPid", 0),
                          state.value("shimStartTime", uint64_t{0}),
                          "",
                          state.value("run", 1U)};
  if (!OpenProcess(found.shim_pid, found.shim_start_time)) return std::nullopt;
  return found;
}

/** `verb` is attend or hello. */
std::optional<Attendance> Meet(const std::string& state_dir, const char* verb) {
  std::optional<ContainerIdentity> on_disk = IdentityOnDisk(state_dir);
  if (!on_disk) return std::nullopt;
  Attendance attendance{*on_disk, Fd{}};
  ContainerIdentity& found = attendance.identity;
  try {
    std::vector<std::string> words;
    attendance.connection = AskWho(Connect(state_dir), verb, words);
    CheckIdentity(words, state_dir, found);
  } catch (const SysError& e) {
    // It has just ended: its socket is gone or closed in our face, and exit.json is there or about to be.
    const bool has_ended =
        e.error() == ENOENT || e.error() == ECONNRESET || e.error() == EPIPE || e.error() == EPROTO;
    if (!has_ended && e.error() != ECONNREFUSED) throw;
    // Its creation was undone meanwhile, or it is wholly gone.
    if (!IdentityOnDisk(state_dir)) return std::nullopt;
    if (!has_ended) throw;
    found.life = "exited";
  }
  return attendance;
}

}  // namespace

Fd StartContainer(const std::string& state_dir) {
  Fd fd = Connect(state_dir);
  bool is_attended = true;
  // Both at once: a start is to take no longer for it.
  Say(fd.get(), std::string(kShimLanguage) + "attend");
  Say(fd.get(), std::string(kShimLanguage) + "start");
  try {
    Hear(fd.get());
  } catch (const SysError& e) {
    if (e.error() != ENOSYS) throw;
    is_attended = false;
  }
  Hear(fd.get());
  return is_attended ? std::move(fd) : Fd{};
}

std::optional<ContainerIdentity> IdentifyContainer(const std::string& state_dir) {
  const std::optional<Attendance> met = Meet(state_dir, "hello");
  return met ? std::optional(met->identity) : std::nullopt;
}

std::optional<Attendance> AttendContainer(const std::string& state_dir) { return Meet(state_dir, "attend"); }

ExecHandle StartExec(pid_t pid, uint64_t start_time, const std::string& config, const ExecOptions& options,
                     const std::string& shim_path, const std::array<int, 3>& stdio) {
  const std::string plan = PlanExec(config, options, HostCgroups());
  Fd target = OpenProcess(pid, start_time);
  if (!target) throw SysError{ESRCH, "pidfd_open", std::to_string(pid)};
  target = Above(std::move(target));
  Door door = MakeDoor();
  ExecHandle handle{std::move(door.ours), 0};
  handle.helper = SpawnShim({.path = shim_path,
                             .args = {"covey-shim", "--exec"},
                             .fds = {door.theirs.get(), target.get()},
                             .stdio = stdio});
  door.theirs.Reset();
  try {
    SendPlan(handle.answer.get(), plan);
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

pid_t SpawnHolder(const std::string& shim_path) {
  return SpawnShim({.path = shim_path, .args = {"covey-shim", "--hold"}, .fds = {}});
}

}  // namespace covey
