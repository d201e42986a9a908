// state, list, ps and events: what there is, in the shapes runc's callers read.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sstream>

#include "../src/cgroup.h"
#include "../src/cgroup_stats.h"
#include "../src/process.h"
#include "../src/sys_error.h"
#include "record.h"
#include "runtime.h"

namespace covey {
namespace {

using nlohmann::ordered_json;

ordered_json Described(const Record& record) {
  ordered_json state = StateOf(record.container, NameOf(record.status), record.pid);
  state["rootfs"] = record.container.value("rootfs", "");
  state["created"] = record.container.value("created", "");
  state["owner"] = "root";
  return state;
}

void AddPids(const std::string& cgroup, std::vector<long>& pids) {
  const std::string folder = HostCgroups().FolderOf("freezer", cgroup);
  if (folder.empty() || access(folder.c_str(), F_OK) != 0) return;
  std::istringstream listed(ReadSmallFile(folder + "/cgroup.procs"));
  for (long pid = 0; listed >> pid;) pids.push_back(pid);
  for (const std::string& name : ListCgroups(cgroup)) AddPids(cgroup + "/" + name, pids);
}

std::string Cell(const std::string& text, size_t width) {
  return text + std::string(text.size() < width ? width - text.size() : 0, ' ') + " ";
}

template <typename T>
ordered_json OrNull(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

/** In the shape of `runc events`. */
ordered_json StatsOf(const Record& record) {
  const CgroupStats stats = ReadCgroupStats(record.cgroup());
  ordered_json data;
  data["cpu"]["usage"] = {
      {"total", stats.cpu.usage_nanos}, {"kernel", stats.cpu.system_nanos}, {"user", stats.cpu.user_nanos}};
  data["cpu"]["throttling"] = {{"periods", stats.cpu.periods},
                               {"throttledPeriods", stats.cpu.throttled_periods},
                               {"throttledTime", stats.cpu.throttled_nanos}};
  data["memory"]["usage"] = {{"usage", stats.memory.usage_bytes},
                             {"limit", OrNull(stats.memory.limit_bytes)},
                             {"max", OrNull(stats.memory.peak_bytes)},
                             {"failcnt", stats.memory.limit_hits}};
  data["memory"]["oomKills"] = stats.memory.oom_kills;
  data["pids"] = {{"current", stats.pids.count}, {"limit", OrNull(stats.pids.limit)}};
  data["blkio"]["devices"] = ordered_json::array();
  for (const IoUse& io : stats.io)
    data["blkio"]["devices"].push_back({{"device", io.device},
                                        {"readBytes", io.read_bytes},
                                        {"writeBytes", io.write_bytes},
                                        {"reads", io.reads},
                                        {"writes", io.writes}});
  return {{"type", "stats"}, {"id", record.id}, {"data", data}};
}

/** The lines of `ps` that are about these processes, with its heading. */
std::string TableOf(const std::vector<long>& pids, const std::vector<std::string>& options) {
  std::string command = "ps";
  for (const std::string& option : options) {
    if (option.find('\'') != std::string::npos) throw UsageError("ps option " + option + " has a quote");
    command += " '" + option + "'";
  }
  FILE* pipe = popen((options.empty() ? "ps -ef" : command).c_str(), "re");
  if (pipe == nullptr) throw SysError{errno, "popen", "ps"};
  std::string table;
  char line[8192];
  size_t column = 0;
  for (bool heading = true; fgets(line, sizeof line, pipe) != nullptr; heading = false) {
    std::istringstream words(line);
    std::string word;
    for (size_t i = 0; words >> word; i++) {
      if (heading && word == "PID") column = i;
      if (!heading && i == column) break;
    }
    bool ours = heading;
    for (const long pid : pids) ours = ours || word == std::to_string(pid);
    if (ours) table += line;
  }
  if (pclose(pipe) != 0) throw UsageError("ps failed; is procps installed on this host?");
  return table;
}

}  // namespace

std::string IdOf(const Arguments& arguments) {
  if (arguments.operands().size() != 1) throw UsageError("exactly one container id is needed");
  return arguments.operands()[0];
}

void Print(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(1, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) throw SysError{errno, "write", "stdout"};
    if (n > 0) done += static_cast<size_t>(n);
  }
}

int State(const Runtime& runtime, const Arguments& arguments) {
  Print(Described(ReadRecord(runtime.root, IdOf(arguments))).dump(2) + "\n");
  return 0;
}

int List(const Runtime& runtime, const Arguments& arguments) {
  const std::string format = arguments.Value("format", "table");
  if (format != "table" && format != "json") throw UsageError("--format must be table or json");
  ordered_json all = ordered_json::array();
  std::string table = Cell("ID", 24) + Cell("PID", 8) + Cell("STATUS", 9) + Cell("CREATED", 31) + "BUNDLE\n";
  std::string quiet;
  for (const std::string& id : ListIds(runtime.root)) {
    const Record record = ReadRecord(runtime.root, id);
    all.push_back(Described(record));
    quiet += id + "\n";
    table += Cell(id, 24) + Cell(std::to_string(record.pid), 8) + Cell(NameOf(record.status), 9) +
             Cell(record.container.value("created", ""), 31) + record.bundle() + "\n";
  }
  Print(arguments.Has("quiet") ? quiet : format == "json" ? all.dump() + "\n" : table);
  return 0;
}

int Processes(const Runtime& runtime, const Arguments& arguments) {
  const std::vector<std::string>& operands = arguments.operands();
  if (operands.empty()) throw UsageError("usage: ps [--format json|table] ID [PS-OPTION…]");
  const Record record = ReadRecord(runtime.root, operands[0]);
  std::vector<long> pids;
  AddPids(record.cgroup(), pids);
  const std::string format = arguments.Value("format", "table");
  if (format != "table" && format != "json") throw UsageError("--format must be table or json");
  Print(format == "json" ? ordered_json(pids).dump() + "\n"
                         : TableOf(pids, {operands.begin() + 1, operands.end()}));
  return 0;
}

int Events(const Runtime& runtime, const Arguments& arguments) {
  const std::string interval = arguments.Value("interval", "5s");
  const unsigned long seconds = NumberOf("interval", interval.substr(0, interval.find('s')));
  if (seconds == 0) throw UsageError("--interval must be at least 1s");
  for (;;) {
    const Record record = ReadRecord(runtime.root, IdOf(arguments));
    if (record.status == Status::kStopped) {
      if (arguments.Has("stats")) throw UsageError("container \"" + record.id + "\" is not running");
      return 0;
    }
    Print(StatsOf(record).dump() + "\n");
    if (arguments.Has("stats")) return 0;
    const timespec pause{static_cast<time_t>(seconds), 0};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace covey
