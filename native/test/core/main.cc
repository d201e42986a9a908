// The native core alone, from a container's config to its exit: what the addon does for an agent, without agent and without
// Node, for test/bench/runtime.ts. What it is measured against is driven by a small program too (native/test/bound).
//
//   bare-core AT_ONCE STATUS LAYER STATE CGROUP SHIM   one run for each line of stdin, an OCI bundle's folder. Its last part
//                                                      is the container's id and its cgroup's name below CGROUP
//
// Prints one duration in microseconds a line, then "all" and that of everything. A run lasts from before its config is read
// until its exit is on disk and was read; then its cgroup is removed, and its folder in STATE left. The first is not
// counted: what every shim is copied from and the system call filter are made once in an agent's life. Any other exit
// status ends it with 1.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "../../src/cgroup.h"
#include "../../src/container.h"
#include "../../src/shim_process.h"
#include "../../src/sys_error.h"

namespace covey {
namespace {

using Clock = std::chrono::steady_clock;

struct Stage {
  int status = 0;
  std::string layer;
  std::string state;
  std::string cgroup;
  std::string shim;
};

double MicrosecondsSince(Clock::time_point from) {
  return std::chrono::duration<double, std::micro>(Clock::now() - from).count();
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) throw SysError{EIO, "read", path};
  return text.str();
}

/** The next message from the shim; empty when it has closed its door. */
std::string Hear(int door) {
  char answer[kShimAnswerMax];
  ssize_t n = 0;
  do n = recv(door, answer, sizeof answer, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) throw SysError{errno, "recv", "covey-shim"};
  return {answer, static_cast<size_t>(n)};
}

CreateOptions OptionsOf(const Stage& stage, const std::string& id) {
  CreateOptions options;
  options.id = id;
  options.state_dir = stage.state + "/" + id;
  options.layers = {stage.layer};
  options.log_path = options.state_dir + "/log";
  options.log_max_bytes = 10 << 20;
  options.log_files = 5;
  options.shim_path = stage.shim;
  return options;
}

/** Microseconds of one run. */
double Run(const Stage& stage, const std::string& bundle) {
  const std::string id = bundle.substr(bundle.rfind('/') + 1);
  const Clock::time_point from = Clock::now();
  const CreateOptions options = OptionsOf(stage, id);
  if (mkdir(options.state_dir.c_str(), 0700) != 0) throw SysError{errno, "mkdir", options.state_dir};
  const NewContainer made = BeginContainer(ReadFile(bundle + "/config.json"), options);
  fcntl(made.door.get(), F_SETFL, 0);
  UnderstandContainer(Hear(made.door.get()));
  const std::string begin = std::string(kShimLanguage) + "begin";
  if (send(made.door.get(), begin.data(), begin.size(), MSG_NOSIGNAL) < 0) throw SysError{errno, "send", id};
  Understand(Hear(made.door.get()));
  while (!Hear(made.door.get()).empty()) continue;
  const std::string exit = ReadFile(options.state_dir + "/exit.json");
  const double took = MicrosecondsSince(from);
  if (exit.find("\"code\":" + std::to_string(stage.status) + ",") == std::string::npos)
    throw SysError{ECHILD, "exit", id, "running", exit};
  Reap(made.shim, true);
  RemoveCgroup(stage.cgroup + "/" + id);
  return took;
}

[[noreturn]] void Die(const std::string& bundle, const std::string& why) {
  fprintf(stderr, "bare-core: %s: %s\n", bundle.c_str(), why.c_str());
  _exit(1);
}

/** A run that does not end as it must ends everything. */
double MustRun(const Stage& stage, const std::string& bundle) {
  try {
    return Run(stage, bundle);
  } catch (const SysError& e) {
    Die(bundle,
        e.step() + " " + e.syscall() + " " + e.path() + ": " + strerror(e.error()) + " " + e.detail());
  } catch (const std::exception& e) {
    Die(bundle, e.what());
  }
}

void RunAll(const Stage& stage, int at_once) {
  std::mutex lock;
  const auto worker = [&stage, &lock] {
    std::unique_lock<std::mutex> held(lock);
    for (std::string bundle; std::getline(std::cin, bundle);) {
      held.unlock();
      const double took = MustRun(stage, bundle);
      held.lock();
      printf("%.1f\n", took);
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(static_cast<size_t>(at_once));
  for (int i = 0; i < at_once; i++) workers.emplace_back(worker);
  for (std::thread& each : workers) each.join();
}

int Main(int at_once, const Stage& stage) {
  std::string first;
  if (!std::getline(std::cin, first)) return 64;
  MustRun(stage, first);
  const Clock::time_point from = Clock::now();
  RunAll(stage, at_once);
  printf("all %.1f\n", MicrosecondsSince(from));
  return 0;
}

}  // namespace
}  // namespace covey

int main(int argc, char** argv) {
  const int at_once = argc == 7 ? atoi(argv[1]) : 0;
  if (at_once < 1 || at_once > 64) return 64;
  return covey::Main(
      at_once,
      {.status = atoi(argv[2]), .layer = argv[3], .state = argv[4], .cgroup = argv[5], .shim = argv[6]});
}
