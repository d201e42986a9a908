// exec: one more process in a container. Source: runc-exec(8).
#include <sys/prctl.h>

#include <cerrno>

#include "../src/cgroup.h"
#include "../src/oci_leave.h"
#include "../src/oci_reader.h"
#include "../src/process.h"
#include "../src/shim_process.h"
#include "../src/sys_error.h"
#include "console.h"
#include "make.h"
#include "root.h"
#include "runtime.h"
#include "tolerance.h"

namespace covey {
namespace {

using nlohmann::json;

/** --user UID[:GID] in numbers: names are the caller's to look up, as with every OCI runtime. */
json UserOf(const std::string& text) {
  const size_t colon = text.find(':');
  json user{{"uid", NumberOf("user", text.substr(0, colon))}, {"gid", 0}};
  if (colon != std::string::npos) user["gid"] = NumberOf("user", text.substr(colon + 1));
  return user;
}

json ProcessFromOptions(const Record& record, const Arguments& arguments) {
  json process = ObjectOr(record.Config(), "process");
  const std::vector<std::string>& operands = arguments.operands();
  if (operands.size() < 2) throw UsageError("usage: exec [OPTIONS] ID COMMAND [ARG…], or --process FILE");
  process["args"] = std::vector<std::string>(operands.begin() + 1, operands.end());
  process["terminal"] = arguments.Has("tty");
  process.erase("consoleSize");
  if (arguments.Has("cwd")) process["cwd"] = arguments.Value("cwd");
  if (arguments.Has("user")) process["user"] = UserOf(arguments.Value("user"));
  for (const std::string& entry : arguments.Values("env")) process["env"].push_back(entry);
  for (const std::string& gid : arguments.Values("additional-gids"))
    process["user"]["additionalGids"].push_back(NumberOf("additional-gids", gid));
  for (const std::string& cap : arguments.Values("cap")) {
    for (const char* set : {"bounding", "effective", "permitted"})
      process["capabilities"][set].push_back(cap);
  }
  if (arguments.Has("no-new-privs")) process["noNewPrivileges"] = true;
  if (arguments.Has("apparmor")) process["apparmorProfile"] = arguments.Value("apparmor");
  if (arguments.Has("process-label")) process["selinuxLabel"] = arguments.Value("process-label");
  return process;
}

json ProcessOf(const Record& record, const Arguments& arguments) {
  if (!arguments.Has("process")) return ProcessFromOptions(record, arguments);
  const std::string path = arguments.Value("process");
  json process = json::parse(ReadSmallFile(path), nullptr, false);
  if (!process.is_object()) throw UsageError("--process " + path + " is not a JSON object");
  if (arguments.Has("tty")) process["terminal"] = true;
  // The container's, as with runc; otherwise the command would have its caller's.
  const json own = ObjectOr(record.Config(), "process");
  if (!process.contains("oomScoreAdj") && own.contains("oomScoreAdj"))
    process["oomScoreAdj"] = own["oomScoreAdj"];
  return process;
}

struct Joined {
  pid_t pid = 0;
  Fd master;
};

Joined Join(const Runtime& runtime, const Record& record, const json& process, Fd console,
            unsigned preserved) {
  const json config = record.Config();
  const JoinOptions options{.cgroup = record.cgroup(),
                            .kept = preserved + (console ? 1U : 0U),
                            .console = static_cast<bool>(console),
                            .chroot = SharesMounts(config)};
  const std::string plan = PlanJoin(process, ObjectOr(config, "linux"), options, HostCgroups());
  const int last = 4 + static_cast<int>(options.kept);
  const std::vector<Fd> held = Preserved(preserved, last);
  Door door = MakeDoor(last);
  const Fd target = Above(OpenProcess(record.pid, record.start_time), last);
  if (console) console = Above(std::move(console), last);
  ShimSpawn spawn{.path = runtime.shim, .args = {"covey-shim", "--join"}, .fds = {}, .inherits_stdio = true};
  spawn.fds = {door.theirs.get(), target.get()};
  if (console) spawn.fds.push_back(console.get());
  for (const Fd& fd : held) spawn.fds.push_back(fd.get());
  const pid_t shim = SpawnShim(spawn);
  door.theirs.Reset();
  try {
    SendPlan(door.ours.get(), plan);
    const std::vector<std::string> words = Understand(ReceiveAll(door.ours.get()));
    if (words.empty()) throw SysError{EPROTO, "recv", "covey-shim"};
    EndShim(shim);
    return {PidIn(words[0]), Fd{}};
  } catch (...) {
    door.ours.Reset();
    EndShim(shim);
    throw;
  }
}

}  // namespace

int Exec(const Runtime& runtime, const Arguments& arguments) {
  if (arguments.operands().empty()) throw UsageError("usage: exec [OPTIONS] ID COMMAND [ARG…]");
  const Record record = ReadRecord(runtime.root, arguments.operands()[0]);
  if (record.status == Status::kPaused && !arguments.Has("ignore-paused"))
    throw UsageError("container \"" + record.id + "\" is paused; resume it first");
  if (record.status != Status::kRunning && record.status != Status::kCreated &&
      record.status != Status::kPaused)
    throw UsageError("container \"" + record.id + "\" is not running");
  json process = ProcessOf(record, arguments);
  TolerateProcess(process, runtime.log);
  const std::string socket = arguments.Value("console-socket");
  const bool terminal = FlagOr(process, "terminal", false), detached = arguments.Has("detach");
  if (terminal && detached && socket.empty())
    throw UsageError("a detached terminal needs --console-socket, to which it is sent");
  if (!terminal && !socket.empty())
    throw UsageError("--console-socket is given, but the process has no terminal");
  ConsolePair pair;
  Fd console;
  if (!socket.empty()) {
    console = ConnectConsole(socket);
  } else if (terminal) {
    pair = MakeConsolePair();
    console = std::move(pair.theirs);
  }
  if (!detached && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) throw SysError{errno, "prctl"};
  const Joined joined = Join(runtime, record, process, std::move(console), PreservedCount(arguments));
  WritePidFile(arguments.Value("pid-file"), joined.pid);
  if (detached) return 0;
  return WaitInForeground(joined.pid, pair.ours ? ReceiveMaster(pair.ours) : Fd{});
}

}  // namespace covey
