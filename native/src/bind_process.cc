#include <napi.h>

#include "async.h"
#include "js_error.h"
#include "process.h"

namespace covey {
namespace {

Napi::Value BootIdOf(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), BootId()); });
}

Napi::Value StartTime(const Napi::CallbackInfo& info) {
  const auto ticks = StartTimeOf(info[0].As<Napi::Number>().Int32Value());
  if (!ticks) return info.Env().Null();
  return Napi::Number::New(info.Env(), static_cast<double>(*ticks));
}

uint64_t TicksAt(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<uint64_t>(info[index].As<Napi::Number>().Int64Value());
}

Napi::Value ProcessAlive(const Napi::CallbackInfo& info) {
  const bool alive =
      static_cast<bool>(OpenProcess(info[0].As<Napi::Number>().Int32Value(), TicksAt(info, 1)));
  return Napi::Boolean::New(info.Env(), alive);
}

Napi::Value Signal(const Napi::CallbackInfo& info) {
  const bool sent = SignalProcess(info[0].As<Napi::Number>().Int32Value(), TicksAt(info, 1),
                                  info[2].As<Napi::Number>().Int32Value());
  return Napi::Boolean::New(info.Env(), sent);
}

Napi::Value NotifyService(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [socket = info[0].As<Napi::String>().Utf8Value(),
                            message = info[1].As<Napi::String>().Utf8Value()] { Notify(socket, message); });
}

}  // namespace

void RegisterProcess(Napi::Object exports) {
  Export<BootIdOf>(exports, "bootId");
  Export<StartTime>(exports, "startTime");
  Export<ProcessAlive>(exports, "processAlive");
  Export<Signal>(exports, "signal");
  Export<NotifyService>(exports, "notify");
}

}  // namespace covey
