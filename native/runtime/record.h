// What the runtime keeps of a container, all of it in ROOT/ID:
//   container.json  written before anything is made: id, bundle, annotations, cgroup, who makes it
//   config.json     the config as it was at create; later changes of the bundle's are without effect
//   state.json      written by the shim once the first process waits: pid and start time
//   start           the socket of the start; gone once it was started
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../src/fd.h"

namespace covey {

/** The newest runtime-spec this follows. */
constexpr const char* kSpecVersion = "1.2.0";

enum class Status { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* NameOf(Status status);

struct Record {
  std::string id;
  std::string folder;
  nlohmann::json container;
  pid_t pid = 0;  // 0 = there is no first process, or none any more
  uint64_t start_time = 0;
  Status status = Status::kStopped;

  std::string cgroup() const { return container.value("cgroup", ""); }
  std::string bundle() const { return container.value("bundle", ""); }
  /** The config as it was at create. Throws SysError. */
  nlohmann::json Config() const;
};

/** Throws UsageError for an id that cannot be a folder's name. */
void CheckId(const std::string& id);

/** Makes ROOT/ID. Throws UsageError when the id is taken. */
std::string MakeFolder(const std::string& root, const std::string& id);

/** Writes a file of a container's folder whole, by rename. Throws SysError. */
void WriteRecord(const std::string& folder, const std::string& name, const std::string& text);

/** What is known of a container, with its status now. Throws UsageError when there is none of that id. */
Record ReadRecord(const std::string& root, const std::string& id);

/** The ids below `root`, sorted. */
std::vector<std::string> ListIds(const std::string& root);

/** Held while a container is started, joined or deleted, so that these do not cross. */
Fd Lock(const Record& record);

/** The state as the runtime-spec and runc's callers want it; `status` and `pid` as given. */
nlohmann::ordered_json StateOf(const nlohmann::json& container, const char* status, pid_t pid);

}  // namespace covey
