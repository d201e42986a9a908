#include "record.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "../src/cgroup.h"
#include "../src/process.h"
#include "../src/sys_error.h"
#include "arguments.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr size_t kIdMax = 255;

json ReadJson(const std::string& path) {
  json parsed = json::parse(ReadSmallFile(path), nullptr, false);
  if (!parsed.is_object()) throw SysError{EBADMSG, "parse", path};
  return parsed;
}

/** A number as we write it. Throws json::exception for anything else. */
uint64_t NumberIn(const json& object, const char* name) {
  return object.at(name).get_ref<const json::number_unsigned_t&>();
}

pid_t PidIn(const json& object, const char* name) { return static_cast<pid_t>(NumberIn(object, name)); }

/** Throws json::exception unless it is what `create` writes. */
void CheckContainer(const json& container) {
  for (const char* name : {"id", "bundle", "rootfs", "cgroup", "created", "bootId"}) {
    container.at(name).get_ref<const std::string&>();
  }
  container.at("annotations").get_ref<const json::object_t&>();
  for (const char* name : {"pid", "startTime"}) NumberIn(container.at("creator"), name);
}

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Status StatusOf(Record& record) {
  if (!Exists(record.folder + "/state.json")) {
    const json& creator = record.container.at("creator");
    const bool lives = StartTimeOf(PidIn(creator, "pid")) == NumberIn(creator, "startTime") &&
                       record.container.at("bootId") == BootId();
    return lives ? Status::kCreating : Status::kStopped;
  }
  const json state = ReadJson(record.folder + "/state.json");
  record.start_time = NumberIn(state, "startTime");
  const pid_t pid = PidIn(state, "pid");
  if (state.at("bootId") != BootId() || StartTimeOf(pid) != record.start_time) return Status::kStopped;
  record.pid = pid;
  if (IsCgroupPaused(record.cgroup())) return Status::kPaused;
  return Exists(record.folder + "/start") ? Status::kCreated : Status::kRunning;
}

}  // namespace

const char* NameOf(Status status) {
  switch (status) {
    case Status::kCreating:
      return "creating";
    case Status::kCreated:
      return "created";
    case Status::kRunning:
      return "running";
    case Status::kPaused:
      return "paused";
    case Status::kStopped:
      return "stopped";
  }
  return "stopped";
}

json Record::Config() const { return ReadJson(folder + "/config.json"); }

void CheckId(const std::string& id) {
  const bool plain = std::all_of(id.begin(), id.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '+' || c == '.';
  });
  if (id.empty() || !plain || id == "." || id == ".." || id.size() > kIdMax)
    throw UsageError("container id \"" + id + "\" must be 1 to 255 of letters, digits, _ + - and .");
}

std::string MakeFolder(const std::string& root, const std::string& id) {
  CheckId(id);
  for (size_t slash = root.find('/', 1);; slash = root.find('/', slash + 1)) {
    const std::string part = root.substr(0, slash);
    if (mkdir(part.c_str(), 0711) != 0 && errno != EEXIST) throw SysError{errno, "mkdir", part};
    if (slash == std::string::npos) break;
  }
  std::string folder = root + "/" + id;
  if (mkdir(folder.c_str(), 0700) == 0) return folder;
  if (errno == EEXIST) throw UsageError("container with id \"" + id + "\" exists already; delete it first");
  throw SysError{errno, "mkdir", folder};
}

void WriteRecord(const std::string& folder, const std::string& name, const std::string& text) {
  const std::string path = folder + "/" + name, fresh = folder + "/." + name + ".new";
  {
    const Fd file{open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    if (!file) throw SysError{errno, "open", fresh};
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw SysError{errno, "write", fresh};
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) throw SysError{errno, "rename", path};
}

Record ReadRecord(const std::string& root, const std::string& id) {
  CheckId(id);
  Record record{.id = id, .folder = root + "/" + id, .container = {}};
  try {
    record.container = ReadJson(record.folder + "/container.json");
  } catch (const SysError& e) {
    if (e.error() != ENOENT) throw;
    throw UsageError("container \"" + id + "\" does not exist");
  }
  try {
    CheckContainer(record.container);
    record.status = StatusOf(record);
  } catch (const json::exception&) {
    throw SysError{EBADMSG, "parse", record.folder};
  }
  return record;
}

std::vector<std::string> ListIds(const std::string& root) {
  std::vector<std::string> ids;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir{opendir(root.c_str()), closedir};
  if (!dir && errno == ENOENT) return ids;
  if (!dir) throw SysError{errno, "opendir", root};
  while (const dirent* entry = readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name[0] != '.' && Exists(root + "/" + name + "/container.json")) ids.push_back(name);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Fd Lock(const Record& record) {
  Fd folder{open(record.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) throw SysError{errno, "open", record.folder};
  while (flock(folder.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw SysError{errno, "flock", record.folder};
  }
  return folder;
}

nlohmann::ordered_json StateOf(const json& container, const char* status, pid_t pid) {
  nlohmann::ordered_json state;
  state["ociVersion"] = kSpecVersion;
  state["id"] = container.at("id");
  state["status"] = status;
  state["bundle"] = container.at("bundle");
  if (!container.at("annotations").empty()) state["annotations"] = container.at("annotations");
  state["pid"] = pid;
  return state;
}

}  // namespace covey
