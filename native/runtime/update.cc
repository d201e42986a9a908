// update: other limits for a container that lives. Source: runc-update(8).
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "../src/cgroup_update.h"
#include "../src/process.h"
#include "record.h"
#include "runtime.h"

namespace covey {
namespace {

using nlohmann::json;

int64_t SignedNumber(const std::string& option, const std::string& text) {
  if (text == "-1") return -1;
  char* end = nullptr;
  errno = 0;
  const int64_t value = strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || errno != 0 || value < 0)
    throw UsageError("--" + option + " must be a whole number or -1, not \"" + text + "\"");
  return value;
}

std::string StdinText() {
  std::string text;
  char chunk[4096];
  for (ssize_t n; (n = read(0, chunk, sizeof chunk)) > 0;) text.append(chunk, static_cast<size_t>(n));
  return text;
}

json ResourcesOf(const Arguments& arguments) {
  const struct {
    const char* option;
    const char* group;
    const char* key;
  } numbers[] = {{"blkio-weight", "blockIO", "weight"}, {"cpu-period", "cpu", "period"},
                 {"cpu-quota", "cpu", "quota"},         {"cpu-burst", "cpu", "burst"},
                 {"cpu-share", "cpu", "shares"},        {"memory", "memory", "limit"},
                 {"memory-swap", "memory", "swap"},     {"memory-reservation", "memory", "reservation"},
                 {"pids-limit", "pids", "limit"}};
  json resources = json::object();
  if (arguments.Has("resources")) {
    const std::string path = arguments.Value("resources");
    resources = json::parse(path == "-" ? StdinText() : ReadSmallFile(path), nullptr, false);
    if (!resources.is_object()) throw UsageError("--resources " + path + " is not a JSON object");
  }
  for (const auto& [option, group, key] : numbers) {
    if (arguments.Has(option)) resources[group][key] = SignedNumber(option, arguments.Value(option));
  }
  if (arguments.Has("cpuset-cpus")) resources["cpu"]["cpus"] = arguments.Value("cpuset-cpus");
  if (arguments.Has("cpuset-mems")) resources["cpu"]["mems"] = arguments.Value("cpuset-mems");
  if (resources.empty()) throw UsageError("nothing to update; give --resources FILE or a limit");
  return resources;
}

}  // namespace

int Update(const Runtime& runtime, const Arguments& arguments) {
  const Record record = ReadRecord(runtime.root, IdOf(arguments));
  if (record.status == Status::kStopped || record.status == Status::kCreating)
    throw UsageError("container \"" + record.id + "\" is not running");
  UpdateCgroup(record.cgroup(), ResourcesOf(arguments).dump());
  return 0;
}

}  // namespace covey
