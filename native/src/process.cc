#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "sys_error.h"

namespace covey {
namespace {
constexpr size_t kSmallFileMax = 1 << 20;
/** A service manager that reads nothing must not hold one of the pool's threads for good. */
constexpr timeval kNotifyPatience{10, 0};
}  // namespace

std::string ReadSmallFile(const std::string& path) {
  Fd fd{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) throw SysError{errno, "open", path};
  std::string text;
  char chunk[4096];
  while (text.size() < kSmallFileMax) {
    ssize_t n = read(fd.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno, "read", path};
    if (n == 0) break;
    text.append(chunk, static_cast<size_t>(n));
  }
  return text;
}

void WriteSmallFile(const std::string& path, const std::string& text) {
  Fd fd{open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!fd) throw SysError{errno, "open", path};
  if (write(fd.get(), text.data(), text.size()) < 0) throw SysError{errno, "write", path};
}

std::string BootId() {
  std::string text = ReadSmallFile("/proc/sys/kernel/random/boot_id");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::optional<uint64_t> StartTimeOf(pid_t pid) {
  std::string text;
  try {
    text = ReadSmallFile("/proc/" + std::to_string(pid) + "/stat");
  } catch (const SysError& e) {
    if (e.error() == ENOENT || e.error() == ESRCH) return std::nullopt;
    throw;
  }
  // The command name may hold spaces and parentheses, so fields are counted from the last ')'.
  size_t at = text.rfind(')');
  if (at == std::string::npos || at + 2 >= text.size()) return std::nullopt;
  const char state = text[at + 2];
  if (state == 'Z' || state == 'X') return std::nullopt;
  const char* field = text.c_str() + at + 2;
  for (int number = 3; number < 22; number++) {
    field = strchr(field, ' ');
    if (field == nullptr) return std::nullopt;
    field++;
  }
  return strtoull(field, nullptr, 10);
}

Fd OpenProcess(pid_t pid, uint64_t start_time) {
  if (pid <= 0) return Fd{};
  Fd fd{static_cast<int>(syscall(SYS_pidfd_open, pid, 0))};
  if (!fd) {
    // EINVAL, and ENOENT since Linux 6.14: the number is a thread's by now.
    if (errno == ESRCH || errno == EINVAL || errno == ENOENT) return Fd{};
    throw SysError{errno, "pidfd_open", std::to_string(pid)};
  }
  // Compared after opening: from here on the pid cannot be given to another process unnoticed.
  if (StartTimeOf(pid) != start_time) return Fd{};
  return fd;
}

bool SignalProcess(pid_t pid, uint64_t start_time, int signal) {
  Fd fd = OpenProcess(pid, start_time);
  if (!fd) return false;
  if (syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0) == 0) return true;
  if (errno == ESRCH) return false;
  throw SysError{errno, "pidfd_send_signal", std::to_string(pid)};
}

void Notify(const std::string& socket_path, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.empty() || socket_path.size() >= sizeof address.sun_path) {
    throw SysError{ENAMETOOLONG, "connect", socket_path};
  }
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  Fd fd{socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!fd) throw SysError{errno, "socket"};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kNotifyPatience, sizeof kNotifyPatience);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_path.size());
  if (sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    throw SysError{errno, "sendto", socket_path};
  }
}

}  // namespace covey
