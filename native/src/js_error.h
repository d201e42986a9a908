// Turns the core's exceptions into JavaScript errors, in one place.
#pragma once

#include <napi.h>

#include <exception>

namespace covey {

/** Error { code: 'ENOENT', errno: -2, syscall, path | null, step | null }, as Node's own file errors look. */
Napi::Error JsError(Napi::Env env, std::exception_ptr failure);

/** Runs `body` on the main thread; whatever is thrown in it becomes such an exception. For quick calls only. */
template <typename Body>
auto Sync(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    throw JsError(env, std::current_exception());
  }
}

/** `Function` as JavaScript calls it: nothing but a complete error leaves it. */
template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  return Sync(info.Env(), [&] { return Function(info); });
}

/** Exports `Function` by that name. The order of these calls is that of FUNCTIONS in native/index.ts. */
template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
void Export(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New(exports.Env(), Guarded<Function>, name));
}

}  // namespace covey
