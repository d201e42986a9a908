#include "units_template.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>

#include "../src/container.h"
#include "../src/shim_process.h"
#include "../src/shim_template.h"
#include "../src/sys_error.h"

namespace units_template {
namespace {

using covey::ShimTemplate;

int failures = 0;

void Check(bool holds, const char* what) {
  if (holds) return;
  printf("does not hold: %s\n", what);
  failures++;
}

/** Ours, zombies included. */
std::set<pid_t> Children() {
  std::ifstream file("/proc/thread-self/children");
  std::set<pid_t> all;
  for (pid_t pid = 0; file >> pid;) all.insert(pid);
  return all;
}

/** A shim on its way, and our end of its door. */
struct Asked {
  covey::Door door = covey::MakeDoor(4, SOCK_SEQPACKET);
  ShimTemplate::Copy copy;

  explicit Asked(const std::string& shim) : copy(ShimTemplate::Begin(shim, "units", door.theirs.get())) {
    door.theirs.Reset();
  }
};

int ErrorOfTaking(const Asked& asked, std::chrono::milliseconds patience) {
  try {
    asked.copy.Take(patience);
  } catch (const covey::SysError& e) {
    return e.error();
  }
  return 0;
}

}  // namespace

int Failures(const std::string& shim) {
  using std::chrono::milliseconds;
  {
    Asked first(shim);
    first.door.ours.Reset();
    covey::EndShim(first.copy.Take());
  }
  const std::set<pid_t> before = Children();
  Check(before.size() == 1, "of all it has made the template alone is left");
  kill(*before.begin(), SIGSTOP);
  {
    const Asked late(shim);
    Check(ErrorOfTaking(late, milliseconds(20)) == ETIMEDOUT,
          "one that does not answer is waited for so long");
  }
  const Asked early(shim);
  Asked second(shim);
  kill(*before.begin(), SIGCONT);
  second.door.ours.Reset();
  covey::EndShim(second.copy.Take());
  const std::set<pid_t> then = Children();
  Check(then.size() == 2, "what came too late is reaped, what came for another is kept");
  const pid_t kept = early.copy.Take(milliseconds(0));
  Check(then.count(kept) == 1, "and is there for them at once");
  kill(kept, SIGKILL);
  covey::Reap(kept, true);
  return failures;
}

}  // namespace units_template
