// Runs slow work off the main thread and gives JavaScript a promise.
#pragma once

#include <napi.h>

#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "js_error.h"

namespace covey {

template <typename Work, typename Convert>
class AsyncTask final : public Napi::AsyncWorker {
  using Result = std::invoke_result_t<Work>;
  static constexpr bool kVoid = std::is_void_v<Result>;
  struct Nothing {};

 public:
  AsyncTask(Napi::Env env, Work work, Convert convert)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

  Napi::Promise Promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      if constexpr (kVoid) {
        work_();
      } else {
        result_.emplace(work_());
      }
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (failure_) {
      deferred_.Reject(JsError(Env(), failure_).Value());
      return;
    }
    try {
      if constexpr (kVoid) {
        deferred_.Resolve(convert_(Env()));
      } else {
        deferred_.Resolve(convert_(Env(), std::move(*result_)));
      }
    } catch (...) {
      deferred_.Reject(JsError(Env(), std::current_exception()).Value());
    }
  }

 private:
  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::optional<std::conditional_t<kVoid, Nothing, Result>> result_;
  std::exception_ptr failure_;
};

/**
 * Runs `work` on a thread of libuv's pool, then `convert(env, result)` on the main thread; the promise
 * rejects with the JavaScript form of what `work` threw. `work` must not touch napi and must end: the pool
 * has four threads, so waiting for a container or a client belongs to Poll (poll.h), not here.
 */
template <typename Work, typename Convert>
Napi::Promise Async(Napi::Env env, Work work, Convert convert) {
  auto* task = new AsyncTask<Work, Convert>(env, std::move(work), std::move(convert));
  Napi::Promise promise = task->Promise();
  task->Queue();
  return promise;
}

/** The same for work without a result: resolves with undefined. */
template <typename Work>
Napi::Promise Async(Napi::Env env, Work work) {
  return Async(env, std::move(work), [](Napi::Env e) { return e.Undefined(); });
}

}  // namespace covey
