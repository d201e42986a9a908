// What the runtime has to say: warnings and errors, to stderr or to the caller's file in the caller's format.
#pragma once

#include <string>

namespace covey {

enum class Level { kDebug, kWarning, kError };

/** One line of the log. Callers such as podman and containerd read the file back; hence no line without need. */
class Log {
 public:
  Log() = default;
  /** `path` "" = stderr. `format` is "text" or "json". Throws UsageError. */
  Log(std::string path, const std::string& format, bool debug);

  /** Errors go to stderr too, where people and conmon look. */
  void Say(Level level, const std::string& message) const;

 private:
  std::string path_;
  bool json_ = false;
  bool debug_ = false;
};

/** Now, as RFC 3339 in UTC with nanoseconds. */
std::string TimeNow();

}  // namespace covey
