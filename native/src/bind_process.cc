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
  return Sync(info.Env(), [&]() -> Napi::Value {
    const auto ticks = StartTimeOf(info[0].As<Napi::Number>().Int32Value());
    if (!ticks) return info.Env().Null();
    return Napi::Number::New(info.Env(), static_cast<double>(*ticks));
  });
}

uint64_t TicksAt(const Napi::CallbackInfo& info, size_t index) {
  return static_cast<uint64_t>(info[index].As<Napi::Number>().Int64Value());
}

Napi::Value ProcessAlive(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&]() -> Napi::Value {
    const bool alive =
        static_cast<bool>(OpenProcess(info[0].As<Napi::Number>().Int32Value(), TicksAt(info, 1)));
    return Napi::Boolean::New(info.Env(), alive);
  });
}

Napi::Value Signal(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&]() -> Napi::Value {
    const bool sent = SignalProcess(info[0].As<Napi::Number>().Int32Value(), TicksAt(info, 1),
                                    info[2].As<Napi::Number>().Int32Value());
    return Napi::Boolean::New(info.Env(), sent);
  });
}

Napi::Value NotifyService(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&]() -> Napi::Value {
    Notify(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value());
    return info.Env().Undefined();
  });
}

Napi::Value SetHostnameTo(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&]() -> Napi::Value {
    SetHostname(info[0].As<Napi::String>().Utf8Value());
    return info.Env().Undefined();
  });
}

}  // namespace

void RegisterProcess(Napi::Env env, Napi::Object exports) {
  exports.Set("bootId", Napi::Function::New(env, BootIdOf, "bootId"));
  exports.Set("startTime", Napi::Function::New(env, StartTime, "startTime"));
  exports.Set("processAlive", Napi::Function::New(env, ProcessAlive, "processAlive"));
  exports.Set("signal", Napi::Function::New(env, Signal, "signal"));
  exports.Set("notify", Napi::Function::New(env, NotifyService, "notify"));
  exports.Set("setHostname", Napi::Function::New(env, SetHostnameTo, "setHostname"));
}

}  // namespace covey
