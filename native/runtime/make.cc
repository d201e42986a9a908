#include "make.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "../shim/failure.h"
#include "../src/cgroup.h"
#include "../src/cgroup_files.h"
#include "../src/cgroup_name.h"
#include "../src/layer.h"
#include "../src/oci_plan.h"
#include "../src/oci_reader.h"
#include "../src/process.h"
#include "../src/shim_process.h"
#include "../src/sys_error.h"
#include "hooks.h"
#include "root.h"
#include "scope.h"
#include "tolerance.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr const char* kHookCall = "hook";

std::string Absolute(const std::string& base, const std::string& path) {
  return path.empty() || path[0] == '/' ? path : base + "/" + path;
}

/** Where the config wants its cgroup; by itself a scope where systemd manages cgroups, else one of its own at the root. */
CgroupName CgroupWanted(const json& config, const std::string& id, bool by_systemd) {
  std::string text = TextOr(ObjectOr(config, "linux"), "cgroupsPath", "");
  if (text.empty()) text = by_systemd ? ":covey-runtime:" + id : "/covey-runtime-" + id;
  CgroupName name = ParseCgroupsPath(text, "/", id);
  if (by_systemd && name.unit.scope.empty())
    throw InvalidInput("linux.cgroupsPath", "must be SLICE:PREFIX:NAME with --systemd-cgroup");
  return name;
}

/** A config with an absolute root and bind sources. Source: config.md "root", "mounts". */
json Normalised(const std::string& text, const MakeOptions& options) {
  json config = json::parse(text, nullptr, false);
  if (!config.is_object()) throw InvalidInput("config.json", "is not a JSON object");
  const std::string version = TextOr(config, "ociVersion", "");
  if (version.rfind("1.", 0) != 0)
    throw InvalidInput("ociVersion", "must be 1.x of the runtime-spec, not \"" + version + "\"");
  const std::string root = TextOr(ObjectOr(config, "root"), "path", "");
  if (root.empty()) throw InvalidInput("root.path", "is missing");
  config["root"]["path"] = Absolute(options.bundle, root);
  for (json& mount : config["mounts"]) {
    const std::string source = mount.is_object() ? TextOr(mount, "source", "") : "";
    bool bind = !source.empty() && TextOr(mount, "type", "") == "bind";
    for (const std::string& option :
         mount.is_object() ? TextsOr(mount, "options") : std::vector<std::string>{})
      bind = bind || option == "bind" || option == "rbind";
    if (bind) mount["source"] = Absolute(options.bundle, source);
  }
  if (config["mounts"].is_null()) config.erase("mounts");
  return config;
}

/** A container's cgroup may be there, for a caller may have made it, but not in use: deleting ends what is in it. */
void CheckUnused(const std::string& cgroup) {
  for (const std::string& folder : HostCgroups().FoldersOf(cgroup)) {
    if (PathExists(folder) && !ReadSmallFile(folder + "/cgroup.procs").empty())
      throw UsageError("cgroup " + cgroup + " has processes already; a container needs one of its own");
  }
}

void PrepareCgroup(const std::string& cgroup, const std::optional<Scope>& scope) {
  CheckUnused(cgroup);
  const bool is_unified = HostCgroups().unified;
  // What is above a scope is systemd's.
  if (scope && is_unified) return;
  // On v2 a cgroup that hands controllers on takes no process; on v1 a cpuset must be filled before it does.
  EnsureCgroupParent(is_unified ? cgroup.substr(0, cgroup.rfind('/')) : cgroup);
}

HookStates StatesFor(const json& container) {
  const auto cut = [&](Status status) {
    const std::string text = StateOf(container, NameOf(status), 0).dump();
    return text.substr(0, text.size() - 2);
  };
  return {.creating = cut(Status::kCreating), .created = cut(Status::kCreated)};
}

void RunShim(const Runtime& runtime, const std::string& id, const std::string& plan, MakeOptions& options) {
  const int last = 3 + static_cast<int>(options.preserved) + (options.console ? 1 : 0);
  std::vector<Fd> held = Preserved(options.preserved, last);
  Door door = MakeDoor(last);
  // Hooks take as long as they take.
  const timeval none{};
  setsockopt(door.ours.get(), SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
  ShimSpawn spawn{.path = runtime.shim, .args = {"covey-shim", id}, .fds = {}, .inherits_stdio = true};
  spawn.fds.push_back(door.theirs.get());
  if (options.console) {
    options.console = Above(std::move(options.console), last);
    spawn.fds.push_back(options.console.get());
  }
  for (const Fd& fd : held) spawn.fds.push_back(fd.get());
  const pid_t shim = SpawnShim(spawn);
  door.theirs.Reset();
  try {
    SendPlan(door.ours.get(), plan);
    Understand(ReceiveAll(door.ours.get()));
  } catch (...) {
    door.ours.Reset();
    EndShim(shim);
    throw;
  }
  EndShim(shim);
}

std::string ContainerRecord(const MakeOptions& options, const json& config) {
  const pid_t own = getpid();
  return json{{"ociVersion", kSpecVersion},
              {"id", options.id},
              {"bundle", options.bundle},
              {"rootfs", config["root"]["path"]},
              {"annotations", ObjectOr(config, "annotations")},
              {"cgroup", config["linux"]["cgroupsPath"]},
              {"created", TimeNow()},
              {"bootId", BootId()},
              {"creator", {{"pid", own}, {"startTime", StartTimeOf(own).value_or(0)}}}}
      .dump();
}

Fd ConnectStart(const std::string& folder) {
  const Fd place{open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!place) throw SysError{errno, "open", folder};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/start", place.get());
  Fd fd{socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
  if (!fd) throw SysError{errno, "socket"};
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw SysError{errno, "connect", folder + "/start"};
  return fd;
}

ssize_t Hear(int fd, void* to, size_t size) {
  ssize_t n = 0;
  do n = recv(fd, to, size, 0);
  while (n < 0 && errno == EINTR);
  return n;
}

}  // namespace

std::string ReadConfigText(const std::string& bundle) {
  try {
    return ReadSmallFile(bundle + "/config.json");
  } catch (const SysError& e) {
    if (e.error() != ENOENT && e.error() != ENOTDIR) throw;
    throw UsageError("bundle " + bundle + " has no config.json");
  }
}

std::vector<Fd> Preserved(unsigned count, int last) {
  std::vector<Fd> held;
  for (unsigned i = 0; i < count; i++) {
    Fd copy{fcntl(3 + static_cast<int>(i), F_DUPFD_CLOEXEC, last + 1)};
    if (!copy) throw UsageError("--preserve-fds: descriptor " + std::to_string(3 + i) + " is not open");
    held.push_back(std::move(copy));
  }
  return held;
}

unsigned PreservedCount(const Arguments& arguments) {
  unsigned long count = 0;
  if (arguments.Has("preserve-fds")) count = NumberOf("preserve-fds", arguments.Value("preserve-fds"));
  const char* listen = getenv("LISTEN_FDS");
  if (listen != nullptr) count += NumberOf("LISTEN_FDS", listen);
  if (count > 1000) throw UsageError("--preserve-fds: at most 1000 descriptors are handed on");
  return static_cast<unsigned>(count);
}

void WritePidFile(const std::string& path, pid_t pid) {
  if (path.empty()) return;
  const std::string fresh = path + ".new";
  {
    const Fd file{open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (!file) throw SysError{errno, "open", fresh};
    const std::string text = std::to_string(pid);
    if (write(file.get(), text.data(), text.size()) < 0) throw SysError{errno, "write", fresh};
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) throw SysError{errno, "rename", path};
}

Record MakeContainer(const Runtime& runtime, const std::string& config_text, MakeOptions options) {
  json config = Normalised(config_text, options);
  TolerateConfig(config, runtime.log);
  if (SharesMounts(config))
    runtime.log.Say(Level::kWarning, "container \"" + options.id +
                                         "\" has no mount namespace of its own: its root is only changed");
  const CgroupName cgroup = CgroupWanted(config, options.id, runtime.systemd_cgroup);
  const bool is_scope = !cgroup.unit.scope.empty() && HasSystemd();
  config["linux"]["cgroupsPath"] = is_scope ? Scope::PlaceIn(cgroup) : cgroup.path;
  const std::string container = ContainerRecord(options, config);
  CreateOptions create;
  create.id = options.id;
  create.state_dir = runtime.root + "/" + options.id;
  create.leave = {.kept = options.preserved + (options.console ? 1U : 0U),
                  .console = static_cast<bool>(options.console),
                  .states = StatesFor(json::parse(container))};
  CheckId(options.id);
  const std::string plan = PlanParsed(config, create, HostCgroups(), BootId());
  const std::string folder = MakeFolder(runtime.root, options.id);
  std::optional<Scope> scope;
  try {
    WriteRecord(folder, "config.json", config.dump());
    WriteRecord(folder, "container.json", container);
    if (is_scope) scope.emplace(runtime.shim, cgroup);
    PrepareCgroup(config["linux"]["cgroupsPath"], scope);
  } catch (...) {
    RemoveTree(folder);
    throw;
  }
  const Record made{.id = options.id, .folder = folder, .container = json::parse(container)};
  try {
    RunShim(runtime, options.id, plan, options);
    Record record = ReadRecord(runtime.root, options.id);
    if (scope) scope->Adopt(record.pid);
    WritePidFile(options.pid_file, record.pid);
    return record;
  } catch (const SysError& e) {
    if (e.syscall() == kHookCall) RunHooksAfter(runtime, made, "poststop");
    RemoveCgroup(made.cgroup());
    RemoveFolder(folder, config);
    throw;
  }
}

void StartMade(const Runtime& runtime, const Record& record) {
  const Fd lock = Lock(record);
  if (record.status != Status::kCreated)
    throw UsageError("container \"" + record.id + "\" is " + NameOf(record.status) +
                     "; only a created one can be started");
  failure heard{};
  char greeting = 0;
  const Fd fd = ConnectStart(record.folder);
  if (Hear(fd.get(), &greeting, 1) != 1 || greeting != 'g')
    throw UsageError("container \"" + record.id + "\" was started before");
  if (unlink((record.folder + "/start").c_str()) != 0)
    throw SysError{errno, "unlink", record.folder + "/start"};
  const ssize_t n = Hear(fd.get(), &heard, sizeof heard);
  if (n == static_cast<ssize_t>(sizeof heard) && record.Config().value("process", json()).is_null()) {
    // The error is said, but not by the status: callers of crun's expect such a container to be stopped by its start.
    runtime.log.Say(Level::kError, "container \"" + record.id + "\" has no process; there is nothing to run");
    return;
  }
  if (n == static_cast<ssize_t>(sizeof heard))
    throw SysError{heard.error, heard.syscall, heard.path, heard.step};
  RunHooksAfter(runtime, record, "poststart");
}

void RemoveMade(const Runtime& runtime, const Record& record) {
  RemoveCgroup(record.cgroup());
  RunHooksAfter(runtime, record, "poststop");
  RemoveFolder(record.folder, record.Config());
}

}  // namespace covey
