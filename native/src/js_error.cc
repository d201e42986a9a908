#include "js_error.h"

#include <cerrno>
#include <cstring>
#include <new>
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

Napi::Error Furnished(Napi::Error error, const SysError& e) {
  const Napi::Env env = error.Env();
  const char* name = strerrorname_np(e.error());
  error.Set("code", Napi::String::New(env, name ? name : "EUNKNOWN"));
  error.Set("errno", Napi::Number::New(env, -e.error()));
  error.Set("syscall", Napi::String::New(env, e.syscall()));
  error.Set("path", TextOrNull(env, e.path()));
  error.Set("step", TextOrNull(env, e.step()));
  return error;
}

Napi::Error Make(Napi::Env env, const SysError& e) {
  return Furnished(Napi::Error::New(env, Sentence(e)), e);
}

}  // namespace

Napi::Error JsError(Napi::Env env, std::exception_ptr failure) {
  try {
    std::rethrow_exception(std::move(failure));
  } catch (const SysError& e) {
    return Make(env, e);
  } catch (const InvalidInput& e) {
    return Furnished(Napi::Error::New(env, e.field() + ": " + e.what()),
                     SysError{EINVAL, "validate", e.field()});
  } catch (const Napi::Error& e) {
    // A value of another type than the border's: "A string was expected".
    return Furnished(e, SysError{EINVAL, "convert"});
  } catch (const std::bad_alloc&) {
    return Make(env, SysError{ENOMEM, "malloc"});
  } catch (const std::exception& e) {
    return Make(env, SysError{ENOTRECOVERABLE, "covey", "", "", e.what()});
  } catch (...) {
    return Make(env, SysError{ENOTRECOVERABLE, "covey"});
  }
}

}  // namespace covey
