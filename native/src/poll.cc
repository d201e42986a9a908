#include "poll.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <utility>

#include "container.h"
#include "sys_error.h"

namespace covey {

Poll::Poll(Napi::Env env, Fd fd, std::function<bool(int fd)> ready)
    : env_(env), context_(env, "covey:poll"), fd_(std::move(fd)), ready_(std::move(ready)) {}

Poll* Poll::Start(Napi::Env env, Fd fd, std::function<bool(int fd)> ready) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* poll = new Poll(env, std::move(fd), std::move(ready));
  poll->handle_.data = poll;
  const int error = uv_poll_init(loop, &poll->handle_, poll->fd_.get());
  if (error != 0) {
    delete poll;
    throw SysError{-error, "uv_poll_init"};
  }
  uv_poll_start(&poll->handle_, UV_READABLE | UV_DISCONNECT, OnEvent);
  return poll;
}

void Poll::Stop() {
  uv_poll_stop(&handle_);
  // The handle must be closed by the loop before its memory and descriptor may go.
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_),
           [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
}

void Poll::OnEvent(uv_poll_t* handle, int, int) {
  auto* self = static_cast<Poll*>(handle->data);
  const Napi::HandleScope handles(self->env_);
  const Napi::CallbackScope scope(self->env_, self->context_);
  if (!self->ready_(self->fd_.get())) self->Stop();
}

void Poll::Hold(bool on) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&handle_);
  if (on)
    uv_ref(handle);
  else
    uv_unref(handle);
}

Timer::Timer(Napi::Env env, std::function<void()> late)
    : env_(env), context_(env, "covey:timer"), late_(std::move(late)) {}

Timer* Timer::Start(Napi::Env env, uint64_t ms, std::function<void()> late) {
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto* timer = new Timer(env, std::move(late));
  timer->handle_.data = timer;
  uv_timer_init(loop, &timer->handle_);
  uv_timer_start(
      &timer->handle_,
      [](uv_timer_t* handle) {
        auto* self = static_cast<Timer*>(handle->data);
        const Napi::HandleScope handles(self->env_);
        const Napi::CallbackScope scope(self->env_, self->context_);
        self->late_();
      },
      ms, 0);
  uv_unref(reinterpret_cast<uv_handle_t*>(&timer->handle_));
  return timer;
}

void Timer::Stop() {
  uv_timer_stop(&handle_);
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_),
           [](uv_handle_t* handle) { delete static_cast<Timer*>(handle->data); });
}

void WaitForHelper(Napi::Env env, Fd door, pid_t helper, std::function<bool(int fd)> ready) {
  try {
    Poll::Start(env, std::move(door), std::move(ready));
  } catch (...) {
    kill(helper, SIGKILL);
    Reap(helper, true);
    throw;
  }
}

void ReapOnLoop(Napi::Env env, pid_t child) {
  if (Reap(child, false)) return;
  Fd ended{static_cast<int>(syscall(SYS_pidfd_open, child, 0))};
  // Without a descriptor to spare, better late than never.
  if (!ended) {
    Reap(child, true);
    return;
  }
  WaitForHelper(env, std::move(ended), child, [child](int) {
    Reap(child, false);
    return false;
  });
}

}  // namespace covey
