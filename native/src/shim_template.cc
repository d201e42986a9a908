#include "shim_template.h"

#include <sys/poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "../shim/template.h"
#include "container.h"
#include "shim_process.h"
#include "sys_error.h"

namespace covey {
namespace {

constexpr char kStep[] = "copying the shim's template";

struct Templates {
  std::mutex lock;
  std::map<std::string, std::shared_ptr<ShimTemplate>> known;
};

/** Never taken down: threads may be at work while a process ends, and the kernel closes what they hold. */
Templates& AllTemplates() {
  static auto* all = new Templates;
  return *all;
}

}  // namespace

ShimTemplate::ShimTemplate(const std::string& program) {
  Door door = MakeDoor(4, SOCK_SEQPACKET);
  const std::string room(TEMPLATE_ID_MAX, ' ');
  pid_ = SpawnShim({.path = program, .args = {"covey-shim", "--template", room}, .fds = {door.theirs.get()}});
  socket_ = std::move(door.ours);
}

ShimTemplate::~ShimTemplate() {
  socket_.Reset();
  Reap(pid_, true);
}

std::shared_ptr<ShimTemplate> ShimTemplate::Of(const std::string& program,
                                               const std::shared_ptr<ShimTemplate>& dead) {
  Templates& all = AllTemplates();
  const std::lock_guard<std::mutex> guard(all.lock);
  std::shared_ptr<ShimTemplate>& found = all.known[program];
  if (!found || found == dead) found = std::make_shared<ShimTemplate>(program);
  return found;
}

ShimTemplate::Copy ShimTemplate::Begin(const std::string& program, const std::string& id, int door) {
  std::shared_ptr<ShimTemplate> from = Of(program, nullptr);
  try {
    const uint64_t ticket = from->Ask(id, door);
    return {std::move(from), ticket};
  } catch (const SysError& e) {
    if (e.error() != EPIPE && e.error() != ECONNRESET) throw;
  }
  // Somebody has killed it. Once more; twice in a row is more than bad luck.
  from = Of(program, from);
  const uint64_t ticket = from->Ask(id, door);
  return {std::move(from), ticket};
}

uint64_t ShimTemplate::Ask(const std::string& id, int door) {
  template_request request{.ticket = ++tickets_, .id = {}};
  id.copy(request.id, sizeof request.id);
  union {
    cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control{};
  iovec whole{.iov_base = &request, .iov_len = sizeof request};
  msghdr message{};
  message.msg_iov = &whole;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &door, sizeof door);
  ssize_t n = 0;
  do n = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) throw SysError{errno, "sendmsg", "covey-shim", kStep};
  return request.ticket;
}

pid_t ShimTemplate::Take(uint64_t ticket, std::chrono::milliseconds patience) {
  const Time until = std::chrono::steady_clock::now() + patience;
  std::unique_lock<std::mutex> held(lock_);
  pid_t pid = 0;
  try {
    pid = Await(ticket, until, held);
  } catch (...) {
    gone_.insert(ticket);
    throw;
  }
  if (pid < 0) throw SysError{-pid, "clone3", "covey-shim", kStep};
  return pid;
}

/** One of those who wait reads, for all; the others are woken when it has. */
pid_t ShimTemplate::Await(uint64_t ticket, Time until, std::unique_lock<std::mutex>& held) {
  while (made_.count(ticket) == 0) {
    if (!is_heard_) {
      Hear(until, held);
    } else if (heard_.wait_until(held, until) == std::cv_status::timeout && made_.count(ticket) == 0) {
      throw SysError{ETIMEDOUT, "recv", "covey-shim", kStep};
    }
  }
  const pid_t pid = made_[ticket];
  made_.erase(ticket);
  return pid;
}

/** The next reply, whoever it is for. */
void ShimTemplate::Hear(Time until, std::unique_lock<std::mutex>& held) {
  template_reply reply{};
  is_heard_ = true;
  held.unlock();
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  pollfd polled{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const int ready = poll(&polled, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
  const ssize_t n = ready > 0 ? recv(socket_.get(), &reply, sizeof reply, MSG_DONTWAIT) : ready;
  const int error = ready == 0 ? ETIMEDOUT : errno;
  held.lock();
  is_heard_ = false;
  heard_.notify_all();
  if (n < 0 && (error == EINTR || error == EAGAIN)) return;
  if (n < 0 || ready == 0) throw SysError{error, "recv", "covey-shim", kStep};
  if (n != sizeof reply) throw SysError{ECHILD, "recv", "covey-shim", kStep, "the template has died"};
  if (gone_.erase(reply.ticket) == 0) {
    made_[reply.ticket] = reply.error == 0 ? reply.pid : -reply.error;
  } else if (reply.error == 0) {
    held.unlock();
    EndShim(reply.pid);
    held.lock();
  }
}

}  // namespace covey
