// The one exception of the native core: which call failed, on what, with which errno.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace covey {

/**
 * A failed system call. Becomes a JavaScript Error { code, errno, syscall, path, step, message } in
 * js_error.h. `path` is the object the call was made on ("" when there is none); `step` names what was being
 * done inside the child ("" when the failure was in this process); `detail` is one more sentence for people
 * ("" for none).
 */
class SysError : public std::runtime_error {
 public:
  SysError(int error, std::string syscall, std::string path = "", std::string step = "",
           std::string detail = "")
      : std::runtime_error(syscall),
        error_(error),
        syscall_(std::move(syscall)),
        path_(std::move(path)),
        step_(std::move(step)),
        detail_(std::move(detail)) {}

  int error() const { return error_; }
  const std::string& syscall() const { return syscall_; }
  const std::string& path() const { return path_; }
  const std::string& step() const { return step_; }
  const std::string& detail() const { return detail_; }

 private:
  int error_;
  std::string syscall_;
  std::string path_;
  std::string step_;
  std::string detail_;
};

/** Bad input from our own callers: a config or option that cannot be. Becomes a JavaScript Error with code
 * EINVAL. */
class InvalidInput : public std::runtime_error {
 public:
  /** `field` is the path of the offending value, such as "process.cwd". */
  InvalidInput(std::string field, const std::string& why)
      : std::runtime_error(why), field_(std::move(field)) {}
  const std::string& field() const { return field_; }

 private:
  std::string field_;
};

}  // namespace covey
