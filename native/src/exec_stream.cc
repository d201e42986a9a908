#include "exec_stream.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "oci_reader.h"
#include "process.h"
#include "shim_process.h"
#include "sys_error.h"

namespace covey {
namespace {

struct Ends {
  Fd ours;
  Fd theirs;
};

/** A pipe out of the way of the shim's descriptors. */
Ends MakePipe(bool we_write) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) throw SysError{errno, "pipe2"};
  Fd read_end = Above(Fd{fds[0]}), write_end = Above(Fd{fds[1]});
  if (we_write) return {std::move(write_end), std::move(read_end)};
  return {std::move(read_end), std::move(write_end)};
}

Ends MakeTerminalSocket() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw SysError{errno, "socketpair"};
  return {Above(Fd{fds[0]}), Above(Fd{fds[1]})};
}

/** Reads until the helper says that the command runs; what follows on it stays in the result. */
std::string AwaitStart(int door) {
  std::string text;
  char chunk[512];
  for (;;) {
    const ssize_t n = recv(door, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno == EAGAIN ? ETIMEDOUT : errno, "recv", "covey-shim"};
    text.append(chunk, static_cast<size_t>(n));
    const bool has_started =
        text.rfind("started\n", 0) == 0 && text.find('\n', sizeof "started") != std::string::npos;
    if (has_started) return text;
    // Its whole answer then is the failure.
    if (n == 0) {
      Understand(text);
      throw SysError{EPROTO, "recv", "covey-shim", "", "unknown answer"};
    }
  }
}

/** The user's id in a config as PlanExec takes it. */
uint32_t UserOf(const std::string& config) {
  const auto parsed = nlohmann::json::parse(config, nullptr, false);
  if (!parsed.is_object()) throw InvalidInput("config", "is not a JSON object");
  return static_cast<uint32_t>(NumberOr(ObjectOr(ObjectOr(parsed, "process"), "user"), "uid", 0));
}

/** Throws SysError ESRCH when there is no such process. */
std::string UidMapOf(pid_t pid) {
  try {
    return ReadSmallFile("/proc/" + std::to_string(pid) + "/uid_map");
  } catch (const SysError& e) {
    if (e.error() != ENOENT && e.error() != ESRCH) throw;
    throw SysError{ESRCH, "pidfd_open", std::to_string(pid)};
  }
}

void SendOrder(int door, const stream_order& order) {
  if (send(door, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return;
  if (errno != EPIPE && errno != ECONNRESET) throw SysError{errno, "send", "covey-shim"};
}

}  // namespace

ExecStream StartExecStream(pid_t pid, uint64_t start_time, const std::string& config, ExecOptions options,
                           bool has_stdin, const std::string& shim_path) {
  ExecStream stream;
  Ends in, out, err;
  std::array<int, 3> stdio{-1, -1, -1};
  if (options.stream->terminal && options.stream->detached) {
    throw InvalidInput("stream", "a detached command has no terminal");
  }
  if (options.stream->terminal) {
    in = MakeTerminalSocket();
    stdio[0] = in.theirs.get();
    stream.terminal = std::move(in.ours);
  } else if (!options.stream->detached) {
    if (has_stdin) in = MakePipe(true);
    out = MakePipe(false);
    err = MakePipe(false);
    stdio = {in.theirs.get(), out.theirs.get(), err.theirs.get()};
    stream.in = std::move(in.ours);
    stream.out = std::move(out.ours);
    stream.err = std::move(err.ours);
  }
  options.stream->owner_uid = HostUidIn(UidMapOf(pid), UserOf(config));
  ExecHandle handle = StartExec(pid, start_time, config, options, shim_path, stdio);
  stream.door = std::move(handle.answer);
  stream.helper = handle.helper;
  try {
    fcntl(stream.door.get(), F_SETFL, 0);
    const std::string text = AwaitStart(stream.door.get());
    const size_t end = text.find('\n', sizeof "started");
    stream.pid = PidIn(text.substr(sizeof "started"));
    stream.said = text.substr(end + 1);
    fcntl(stream.door.get(), F_SETFL, O_NONBLOCK);
  } catch (...) {
    stream.door.Reset();
    EndShim(stream.helper);
    throw;
  }
  return stream;
}

void ResizeExecStream(int door, uint16_t rows, uint16_t columns) {
  SendOrder(door, {.kind = STREAM_RESIZE, .number = 0, .rows = rows, .columns = columns});
}

void DetachExecStream(int door) {
  SendOrder(door, {.kind = STREAM_DETACH, .number = 0, .rows = 0, .columns = 0});
}

void SignalExecStream(int door, uint16_t number) {
  SendOrder(door, {.kind = STREAM_SIGNAL, .number = number, .rows = 0, .columns = 0});
}

uint32_t HostUidIn(const std::string& uid_map, uint32_t uid) {
  std::istringstream lines(uid_map);
  for (uint64_t inside = 0, outside = 0, count = 0; lines >> inside >> outside >> count;) {
    if (uid >= inside && uid - inside < count) return static_cast<uint32_t>(outside + (uid - inside));
  }
  throw InvalidInput("process.user.uid",
                     std::to_string(uid) + " does not exist in the container's user namespace");
}

int ExitCodeIn(const std::string& said) {
  if (said.rfind("ended\n", 0) == 0) return static_cast<int>(strtol(said.c_str() + 6, nullptr, 10));
  throw SysError{EPROTO, "recv", "covey-shim", "", "the command's helper ended without an answer"};
}

int WaitingBytes(int fd) {
  int bytes = 0;
  if (ioctl(fd, FIONREAD, &bytes) != 0) throw SysError{errno, "ioctl", "FIONREAD"};
  return bytes;
}

}  // namespace covey
