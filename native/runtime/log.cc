#include "log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "../src/fd.h"
#include "arguments.h"

namespace covey {
namespace {

void Write(int fd, const std::string& line) {
  size_t done = 0;
  while (done < line.size()) {
    const ssize_t n = write(fd, line.data() + done, line.size() - done);
    // Nobody is left to be told that the log cannot be written.
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

const char* NameOf(Level level) {
  switch (level) {
    case Level::kDebug:
      return "debug";
    case Level::kWarning:
      return "warning";
    case Level::kError:
      return "error";
  }
  return "error";
}

}  // namespace

std::string TimeNow() {
  timespec now{};
  tm parts{};
  char text[80], seconds[40];
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text, sizeof text, "%s.%09ldZ", seconds, now.tv_nsec);
  return text;
}

Log::Log(std::string path, const std::string& format, bool debug)
    : path_(std::move(path)), json_(format == "json"), debug_(debug) {
  if (format != "json" && format != "text")
    throw UsageError("--log-format must be text or json, not \"" + format + "\"");
}

void Log::Say(Level level, const std::string& message) const {
  if (level == Level::kDebug && !debug_) return;
  const std::string plain = std::string(NameOf(level)) + ": " + message + "\n";
  if (path_.empty() || level == Level::kError) Write(2, "covey-runtime: " + plain);
  if (path_.empty()) return;
  const Fd file{open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  if (!file) return Write(2, "covey-runtime: warning: cannot write the log " + path_ + "\n");
  if (!json_) return Write(file.get(), TimeNow() + " " + plain);
  const nlohmann::ordered_json line{{"level", NameOf(level)}, {"msg", message}, {"time", TimeNow()}};
  Write(file.get(), line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace covey
