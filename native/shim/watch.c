// The shim's life after the container was made: one poll loop, then the exit record.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "cgroup.h"
#include "fault.h"
#include "log_line.h"
#include "overlay.h"
#include "shim.h"
#include "sys.h"

// After so long without anything to do the memory for doing it is given back.
#define QUIET_MS 1000
// The exit code of a run that could not be begun, as that of a command that is no program.
#define NOT_BEGUN 126

enum slot {
  SLOT_PIDFD,
  SLOT_OUT,
  SLOT_ERR,
  SLOT_LISTENER,
  SLOT_CHILDREN,
  SLOT_CLIENTS,
  SLOT_TAPS = SLOT_CLIENTS + CLIENTS_MAX,
  SLOTS = SLOT_TAPS + TAPS_POLLS
};

static void set_up(const struct shim* shim, struct pollfd* polls) {
  // What nobody has room for stays in its pipe.
  int hears = taps_have_room(&shim->taps);
  polls[SLOT_PIDFD] = (struct pollfd){.fd = shim->pidfd, .events = POLLIN};
  polls[SLOT_OUT] = (struct pollfd){.fd = hears ? shim->streams[0].fd : -1, .events = POLLIN};
  polls[SLOT_ERR] = (struct pollfd){.fd = hears ? shim->streams[1].fd : -1, .events = POLLIN};
  polls[SLOT_LISTENER] = (struct pollfd){.fd = shim->listener, .events = POLLIN};
  polls[SLOT_CHILDREN] = (struct pollfd){.fd = shim->children, .events = POLLIN};
  for (int i = 0; i < CLIENTS_MAX; i++)
    polls[SLOT_CLIENTS + i] = (struct pollfd){.fd = shim->clients[i], .events = POLLIN};
  taps_set_up(&shim->taps, polls + SLOT_TAPS);
}

static void record_exit(struct shim* shim, int status) {
  char started[40], finished[40], code[16] = "null", number[16] = "null", text[320];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  log_time(finished, now.tv_sec, now.tv_nsec);
  // Never started: both times are the same.
  if (shim->started_seconds)
    log_time(started, shim->started_seconds, shim->started_nanoseconds);
  else
    log_time(started, now.tv_sec, now.tv_nsec);
  if (WIFEXITED(status))
    snprintf(code, sizeof code, "%d", WEXITSTATUS(status));
  else
    snprintf(number, sizeof number, "%d", WTERMSIG(status));
  int killed = oom_kills(shim->oom) > shim->oom_before;
  snprintf(text, sizeof text,
           "{\"code\":%s,\"signal\":%s,\"oomKilled\":%s,\"startedAt\":\"%s\",\"finishedAt\":\"%s\"}\n", code,
           number, killed ? "true" : "false", started, finished);
  // A full disk must not lose an exit, where even the room that was kept for it is not to be had (copy on write): a file of this size
  // soon fits again, or the agent removes us.
  for (int tries = 0; write_record(shim->folder, "exit.json", text) != 0 && tries < 3000; tries++)
    usleep(100000);
}

static int reap(const struct shim* shim) {
  int status = 0;
  while (waitpid(shim->pid, &status, __WALL) < 0 && errno == EINTR) continue;
  return status;
}

/** Orphans of the container that have ended. The first process stays: its end is live()'s to see. */
static void reap_orphans(const struct shim* shim) {
  struct signalfd_siginfo told;
  while (read(shim->children, &told, sizeof told) > 0) continue;
  for (;;) {
    siginfo_t ended = {.si_pid = 0};
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT | __WALL) != 0) return;
    if (ended.si_pid == 0 || ended.si_pid == shim->pid) return;
    waitpid(ended.si_pid, NULL, __WALL);
  }
}

/** Everything of the container is dead, so what is in the pipes is all there will be. */
static void drain(struct shim* shim) {
  for (int i = 0; i < 2; i++) {
    while (shim->streams[i].fd >= 0 && log_pump(&shim->log, &shim->streams[i]) > 0) continue;
    if (shim->streams[i].fd < 0) continue;
    log_end(&shim->log, &shim->streams[i]);
  }
}

/** Pumps and answers until the first process has ended; gives its status. */
static int live(struct shim* shim) {
  struct pollfd polls[SLOTS];
  int quiet = 1;
  for (;;) {
    set_up(shim, polls);
    int ready = poll(polls, SLOTS, quiet ? -1 : QUIET_MS);
    if (ready == 0) {
      log_rest(&shim->log);
      overlay_let_go();
    }
    quiet = ready == 0;
    if (ready <= 0) continue;
    for (int i = 0; i < 2; i++) {
      if (polls[SLOT_OUT + i].revents) log_pump(&shim->log, &shim->streams[i]);
    }
    // Before control: it may bring another listener, of which this poll knows nothing.
    taps_serve(&shim->taps, polls + SLOT_TAPS);
    for (int i = 0; i < CLIENTS_MAX; i++) {
      if (polls[SLOT_CLIENTS + i].revents) control_serve(shim, i);
    }
    if (polls[SLOT_LISTENER].revents) control_accept(shim);
    if (polls[SLOT_CHILDREN].revents) reap_orphans(shim);
    if (polls[SLOT_PIDFD].revents) break;
  }
  fault_at("exit.seen", NULL);
  int status = reap(shim);
  // In a pid namespace that others live in too, its children outlive it.
  if (shim->kill_folder >= 0) cgroup_kill(shim->kill_folder);
  fault_at("exit.reaped", NULL);
  return status;
}

/** What the container cannot say itself: why there is no next run. */
static void log_failure(struct shim* shim, const struct failure* failure) {
  char text[400];
  snprintf(text, sizeof text, "covey: could not be run again: %s: %s %s: %s\n", failure->step,
           failure->syscall, failure->path, strerror(failure->error));
  log_say(&shim->log, text);
}

void watch(struct shim* shim) {
  for (int begun = 1; begun != 0;) {
    struct failure failure = {.error = 0};
    int status = begun > 0 ? live(shim) : NOT_BEGUN << 8;
    drain(shim);
    taps_close(&shim->taps);
    fault_at("exit.drained", NULL);
    record_exit(shim, status);
    fault_at("exit.recorded", NULL);
    begun = restart_again(shim, WIFEXITED(status) && WEXITSTATUS(status) == 0, &failure);
    if (begun < 0) log_failure(shim, &failure);
  }
  shim->life = LIFE_EXITED;
  log_close(&shim->log);
  unlinkat(shim->folder, CONTROL_NAME, 0);
  // Who has made us waits for this: everything is on the disk now, and only what nobody need wait for is left.
  control_close_door(shim);
  fault_at("exit.told", NULL);
}
