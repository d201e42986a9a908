#include "js_error.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "sys_error.h"

namespace covey {
namespace {

Napi::Value TextOrNull(Napi::Env env, const std::string& text) {
  return text.empty() ? env.Null() : Napi::String::New(env, text).As<Napi::Value>();
}

std::string Sentence(const SysError& e) {
  const char* name = strerrorname_np(e.error());
  std::string text = std::string(name ? name : "EUNKNOWN") + ": " + strerrordesc_np(e.error());
  if (!e.step().empty()) text += ", " + e.step();
  text += ", " + e.syscall();
  if (!e.path().empty()) text += " '" + e.path() + "'";
  if (!e.detail().empty()) text += " (" + e.detail() + ")";
  return text;
}

Napi::Error Make(Napi::Env env, const SysError& e) {
  const char* name = strerrorname_np(e.error());
  Napi::Error error = Napi::Error::New(env, Sentence(e));
  error.Set("code", Napi::String::New(env, name ? name : "EUNKNOWN"));
  error.Set("errno", Napi::Number::New(env, -e.error()));
  error.Set("syscall", Napi::String::New(env, e.syscall()));
  error.Set("path", TextOrNull(env, e.path()));
  error.Set("step", TextOrNull(env, e.step()));
  return error;
}

}  // namespace

Napi::Error JsError(Napi::Env env, std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (const SysError& e) {
    return Make(env, e);
  } catch (const InvalidInput& e) {
    Napi::Error error = Napi::Error::New(env, e.field() + ": " + e.what());
    error.Set("code", Napi::String::New(env, "EINVAL"));
    error.Set("errno", Napi::Number::New(env, -EINVAL));
    error.Set("syscall", Napi::String::New(env, "validate"));
    error.Set("path", Napi::String::New(env, e.field()));
    error.Set("step", env.Null());
    return error;
  } catch (const std::exception& e) {
    return Napi::Error::New(env, e.what());
  } catch (...) {
    return Napi::Error::New(env, "unknown native failure");
  }
}

}  // namespace covey
