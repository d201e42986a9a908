// Turns the core's exceptions into JavaScript errors, in one place.
#pragma once

#include <napi.h>

#include <exception>

namespace covey {

/** Error { code: 'ENOENT', errno: -2, syscall, path | null, step | null }, as Node's own file errors look. */
Napi::Error JsError(Napi::Env env, std::exception_ptr failure);

/** Runs `body` on the main thread; a SysError thrown in it becomes a JavaScript exception. For quick calls
 * only. */
template <typename Body>
auto Sync(Napi::Env env, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw JsError(env, std::current_exception());
  }
}

}  // namespace covey
