// create, start, run, kill, delete, pause and resume. Source: OCI runtime-spec runtime.md; runc(8) for what it leaves open.
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "../src/cgroup.h"
#include "../src/oci_reader.h"
#include "../src/process.h"
#include "../src/sys_error.h"
#include "console.h"
#include "make.h"
#include "runtime.h"

namespace covey {
namespace {

using nlohmann::json;

// A killed process is gone within moments unless the kernel holds it in a call that cannot be broken.
constexpr int kKillWaitMs = 10'000;

std::string BundleOf(const Arguments& arguments) {
  char real[PATH_MAX];
  const std::string asked = arguments.Value("bundle", ".");
  if (realpath(asked.c_str(), real) == nullptr) throw SysError{errno, "open", asked, "reading the bundle"};
  return real;
}

/** What create and run have in common. */
MakeOptions MakeOptionsOf(const Arguments& arguments) {
  if (arguments.Has("no-pivot"))
    throw UsageError("--no-pivot is refused: without pivot_root a container can reach the host's root");
  MakeOptions options;
  options.id = IdOf(arguments);
  options.bundle = BundleOf(arguments);
  options.pid_file = arguments.Value("pid-file");
  options.preserved = PreservedCount(arguments);
  return options;
}

bool WantsTerminal(const std::string& config_text) {
  const json config = json::parse(config_text, nullptr, false);
  return config.is_object() && FlagOr(ObjectOr(config, "process"), "terminal", false);
}

int SignalOf(const std::string& text) {
  static const struct {
    const char* name;
    int number;
  } names[] = {{"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"ILL", SIGILL},
               {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},     {"BUS", SIGBUS},   {"FPE", SIGFPE},
               {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
               {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM}, {"STKFLT", SIGSTKFLT},
               {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},
               {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},
               {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH},
               {"IO", SIGIO},     {"PWR", SIGPWR},       {"SYS", SIGSYS}};
  std::string name = text;
  for (char& c : name) c = static_cast<char>(toupper(static_cast<unsigned char>(c)));
  if (name.rfind("SIG", 0) == 0) name = name.substr(3);
  for (const auto& known : names) {
    if (name == known.name) return known.number;
  }
  char* end = nullptr;
  const long number = strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || number < 0 || number > 64)
    throw UsageError("unknown signal \"" + text + "\"");
  return static_cast<int>(number);
}

/** Kills everything of a container and waits until its first process is gone. */
void End(const Record& record) {
  const Fd first = OpenProcess(record.pid, record.start_time);
  KillCgroup(record.cgroup());
  if (!first) return;
  SignalProcess(record.pid, record.start_time, SIGKILL);
  pollfd ended{first.get(), POLLIN, 0};
  if (poll(&ended, 1, kKillWaitMs) == 0)
    throw SysError{ETIMEDOUT, "kill", std::to_string(record.pid), "", "it does not die of SIGKILL"};
}

}  // namespace

int Create(const Runtime& runtime, const Arguments& arguments) {
  MakeOptions options = MakeOptionsOf(arguments);
  const std::string text = ReadConfigText(options.bundle);
  const std::string socket = arguments.Value("console-socket");
  if (WantsTerminal(text) && socket.empty())
    throw UsageError("process.terminal needs --console-socket, to which the terminal is sent");
  if (!WantsTerminal(text) && !socket.empty())
    throw UsageError("--console-socket is given, but process.terminal is not set");
  if (!socket.empty()) options.console = ConnectConsole(socket);
  MakeContainer(runtime, text, std::move(options));
  return 0;
}

int Start(const Runtime& runtime, const Arguments& arguments) {
  StartMade(runtime, ReadRecord(runtime.root, IdOf(arguments)));
  return 0;
}

int Run(const Runtime& runtime, const Arguments& arguments) {
  MakeOptions options = MakeOptionsOf(arguments);
  const std::string text = ReadConfigText(options.bundle), id = options.id;
  const std::string socket = arguments.Value("console-socket");
  const bool detached = arguments.Has("detach"), terminal = WantsTerminal(text);
  if (terminal && detached && socket.empty())
    throw UsageError("a detached terminal needs --console-socket, to which it is sent");
  ConsolePair pair;
  if (!socket.empty()) {
    options.console = ConnectConsole(socket);
  } else if (terminal) {
    pair = MakeConsolePair();
    options.console = std::move(pair.theirs);
  }
  // The first process becomes our child as soon as the shim has ended.
  if (!detached && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) throw SysError{errno, "prctl"};
  const Record made = MakeContainer(runtime, text, std::move(options));
  try {
    Fd master = pair.ours ? ReceiveMaster(pair.ours) : Fd{};
    StartMade(runtime, made);
    if (detached) return 0;
    const int status = WaitInForeground(made.pid, std::move(master));
    if (!arguments.Has("keep")) RemoveMade(runtime, made);
    return status;
  } catch (...) {
    End(made);
    RemoveMade(runtime, made);
    throw;
  }
}

int Kill(const Runtime& runtime, const Arguments& arguments) {
  const std::vector<std::string>& operands = arguments.operands();
  if (operands.empty() || operands.size() > 2) throw UsageError("usage: kill [--all] ID [SIGNAL]");
  const Record record = ReadRecord(runtime.root, operands[0]);
  const int number = SignalOf(operands.size() > 1 ? operands[1] : arguments.Value("signal", "TERM"));
  if (arguments.Has("all")) {
    SignalCgroup(record.cgroup(), number);
    return 0;
  }
  if (record.status == Status::kStopped || record.status == Status::kCreating)
    throw UsageError("container \"" + record.id + "\" is not running");
  if (!SignalProcess(record.pid, record.start_time, number))
    throw UsageError("container \"" + record.id + "\" is not running");
  return 0;
}

int Delete(const Runtime& runtime, const Arguments& arguments) {
  const std::string id = IdOf(arguments);
  const bool force = arguments.Has("force");
  CheckId(id);
  if (force && access((runtime.root + "/" + id + "/container.json").c_str(), F_OK) != 0) return 0;
  Record record = ReadRecord(runtime.root, id);
  const Fd lock = Lock(record);
  record = ReadRecord(runtime.root, id);
  if (record.status != Status::kStopped) {
    if (!force)
      throw UsageError("container \"" + id + "\" is " + NameOf(record.status) +
                       "; kill it first, or delete it with --force");
    End(record);
  }
  RemoveMade(runtime, record);
  return 0;
}

int Pause(const Runtime& runtime, const Arguments& arguments) {
  const Record record = ReadRecord(runtime.root, IdOf(arguments));
  if (record.status != Status::kRunning && record.status != Status::kCreated)
    throw UsageError("container \"" + record.id + "\" is " + NameOf(record.status) + " and cannot be paused");
  PauseCgroup(record.cgroup());
  return 0;
}

int Resume(const Runtime& runtime, const Arguments& arguments) {
  const Record record = ReadRecord(runtime.root, IdOf(arguments));
  if (record.status != Status::kPaused) throw UsageError("container \"" + record.id + "\" is not paused");
  ResumeCgroup(record.cgroup());
  return 0;
}

}  // namespace covey
