#include "console.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "../src/sys_error.h"

namespace covey {
namespace {

/** Our own terminal without line editing or signals while a container's is shown on it. */
class RawTerminal {
 public:
  RawTerminal() {
    termios now{};
    if (tcgetattr(0, &now) != 0) return;
    before_ = now;
    cfmakeraw(&now);
    tcsetattr(0, TCSANOW, &now);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() {
    if (before_) tcsetattr(0, TCSANOW, &*before_);
  }

 private:
  std::optional<termios> before_;
};

void CopySize(int master) {
  winsize size{};
  if (ioctl(0, TIOCGWINSZ, &size) == 0) ioctl(master, TIOCSWINSZ, &size);
}

/** One read from `from`, written whole to `to`; false at the end of either. */
bool Move(int from, int to) {
  char chunk[16384];
  const ssize_t n = read(from, chunk, sizeof chunk);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  for (ssize_t done = 0; done < n;) {
    const ssize_t wrote = write(to, chunk + done, static_cast<size_t>(n - done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    done += wrote;
  }
  return true;
}

class Foreground {
 public:
  Foreground(int pid, Fd master) : pid_(pid), master_(std::move(master)) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    signals_ = Fd{signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!signals_) throw SysError{errno, "signalfd"};
    if (master_) CopySize(master_.get());
  }

  int Wait() {
    std::optional<RawTerminal> raw;
    if (master_) raw.emplace();
    bool input = static_cast<bool>(master_);
    // It may have ended before its signal could be caught.
    while (!Reaped()) {
      pollfd polls[3] = {
          {signals_.get(), POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}, {master_.get(), POLLIN, 0}};
      if (poll(polls, 3, -1) < 0) continue;
      if (polls[1].revents != 0) input = Move(0, master_.get());
      if (polls[2].revents != 0 && !Move(master_.get(), 1)) master_.Reset();
      if (polls[0].revents != 0) PassSignals();
    }
    // What it wrote last is still in the terminal; EIO, or nothing more, is the end.
    if (master_) fcntl(master_.get(), F_SETFL, O_NONBLOCK);
    pollfd rest{master_.get(), POLLIN, 0};
    while (master_ && poll(&rest, 1, 0) > 0 && (rest.revents & POLLIN) != 0 && Move(master_.get(), 1))
      continue;
    return status_;
  }

 private:
  bool Reaped() {
    for (;;) {
      int status = 0;
      const pid_t ended = waitpid(-1, &status, WNOHANG);
      if (ended < 0 && errno == EINTR) continue;
      if (ended < 0 && errno == ECHILD) throw SysError{ECHILD, "waitpid", std::to_string(pid_)};
      if (ended <= 0) return false;
      if (ended != pid_) continue;
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      return true;
    }
  }

  void PassSignals() {
    signalfd_siginfo heard{};
    while (read(signals_.get(), &heard, sizeof heard) == static_cast<ssize_t>(sizeof heard)) {
      const int number = static_cast<int>(heard.ssi_signo);
      if (number == SIGWINCH) {
        if (master_) CopySize(master_.get());
      } else if (number != SIGCHLD && number != SIGPIPE && number != SIGURG) {
        kill(pid_, number);
      }
    }
  }

  int pid_;
  Fd master_;
  Fd signals_;
  int status_ = 0;
};

}  // namespace

Fd ConnectConsole(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const Fd place{open(path.c_str(), O_PATH | O_CLOEXEC)};
  if (!place) throw SysError{errno, "open", path, "", "this is what --console-socket names"};
  // By descriptor: a socket's address ends at 108 bytes, its path may not.
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", place.get());
  Fd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!fd) throw SysError{errno, "socket"};
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw SysError{errno, "connect", path, "", "this is what --console-socket names"};
  return fd;
}

ConsolePair MakeConsolePair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw SysError{errno, "socketpair"};
  return {Fd{fds[0]}, Fd{fds[1]}};
}

Fd ReceiveMaster(const Fd& socket) {
  char name[256];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec one{name, sizeof name};
  msghdr message{};
  message.msg_iov = &one;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do n = recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  const cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS)
    throw SysError{n < 0 ? errno : EPROTO, "recvmsg", "console"};
  int fd = -1;
  memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd{fd};
}

int WaitInForeground(int pid, Fd master) { return Foreground{pid, std::move(master)}.Wait(); }

}  // namespace covey
