// Waiting for descriptors on Node's own loop: no thread per container, none at all.
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>

#include "fd.h"

namespace covey {

/**
 * Calls `ready` on the main thread whenever `fd` can be read, until `ready` returns false or Stop is called; then the
 * descriptor is closed and the object deletes itself. Keeps the process alive meanwhile.
 */
class Poll {
 public:
  /** Throws SysError when the descriptor cannot be polled. */
  static Poll* Start(Napi::Env env, Fd fd, std::function<bool(int fd)> ready);
  /** Ends the wait; `ready` is not called again. The object must not be used afterwards. */
  void Stop();
  /** Whether it keeps the process alive. */
  void Hold(bool on);

 private:
  Poll(Napi::Env env, Fd fd, std::function<bool(int fd)> ready);
  static void OnEvent(uv_poll_t* handle, int status, int events);

  uv_poll_t handle_{};
  napi_env env_;
  Napi::AsyncContext context_;
  Fd fd_;
  std::function<bool(int fd)> ready_;
};

/** Calls `late` once on the main thread after so many milliseconds. Stop must be called, before or then: it deletes the object. */
class Timer {
 public:
  static Timer* Start(Napi::Env env, uint64_t ms, std::function<void()> late);
  void Stop();

 private:
  Timer(Napi::Env env, std::function<void()> late);

  uv_timer_t handle_{};
  napi_env env_;
  Napi::AsyncContext context_;
  std::function<void()> late_;
};

/**
 * As Poll::Start, for a helper of ours and what it says, which ends with it. When the wait cannot begin, the helper is killed
 * before SysError is thrown.
 */
void WaitForHelper(Napi::Env env, Fd door, pid_t helper, std::function<bool(int fd)> ready);

/** Reaps a child that has said its last and is about to end; what it takes to die is not waited for here. */
void ReapOnLoop(Napi::Env env, pid_t child);

}  // namespace covey
