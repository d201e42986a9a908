#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "overlay.h"
#include "shim.h"
#include "sys.h"

// As in agent/runs.ts: a run that held out so long was no quick death, and waiting grows up to this.
#define STEADY_MS 10000
#define DELAY_MAX_MS 60000
// As the manager's: from the second quick death on also a policy without delay waits.
#define DELAY_FLOOR_MS 100
#define DOUBLINGS_MAX 16
// Exits of past runs that are kept for the agent; the run's number says how many there were.
#define PAST_RUNS_MAX 20
// So often in a row it may fail to begin; then something of the host is wrong that waiting does not mend.
#define BEGINS_MAX 5
// More than an agent that died has left to be heard: a few words and its end on each connection.
#define WORDS_MAX 64
// Two records of two fields.
#define EXTENSION_MAX 256

int64_t monotonic_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t* time_of(const struct restart* restart, uint64_t number) {
  return &restart->times[number % restart->attempts];
}

int restart_take(struct restart* restart, const struct plan_record* record, struct failure* failure) {
  restart->condition = (enum plan_restart_condition)plan_number(record, 0);
  restart->delay_ms = (int64_t)plan_number(record, 1);
  restart->attempts = plan_number(record, 2);
  restart->window_ms = (int64_t)plan_number(record, 3);
  restart->hold_ms = (int64_t)plan_number(record, 5);
  restart->unattended_since = monotonic_ms();
  uint64_t used = plan_number(record, 4);
  if (restart->attempts == 0 || restart->condition == RESTART_NONE) return 0;
  if (restart->window_ms == 0) return restart->count = used, 0;
  restart->times = mmap(NULL, restart->attempts * sizeof *restart->times, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (restart->times == MAP_FAILED) return failed(failure, "preparing the container", "mmap", "restarts");
  // Those before us lie somewhere in the window; as late as can be is the careful reading.
  for (; restart->count < used && restart->count < restart->attempts; restart->count++)
    *time_of(restart, restart->count) = restart->unattended_since;
  return 0;
}

static int keep(const struct shim* shim, uint64_t flag, const char* name, int* fd, struct failure* failure) {
  char path[40];
  if (!(shim->clone_flags & flag)) return 0;
  snprintf(path, sizeof path, "/proc/%d/ns/%s", shim->pid, name);
  *fd = open(path, O_RDONLY | O_CLOEXEC);
  return *fd < 0 ? failed(failure, "keeping a namespace", "open", path) : 0;
}

/** Writes one field: its length, its bytes, a NUL, padding. Gives the bytes. */
static size_t put_field(char* at, const void* bytes, uint32_t length) {
  uint32_t padded = (length + PLAN_FIELD_ALIGN) & ~(uint32_t)(PLAN_FIELD_ALIGN - 1);
  memcpy(at, &length, sizeof length);
  memset(at + sizeof length, 0, padded);
  memcpy(at + sizeof length, bytes, length);
  return sizeof length + padded;
}

/** Writes PLAN_JOIN of what is kept; plan.h has the layout. Gives the bytes. */
static size_t put_join(char* at, int fd, uint64_t flag) {
  const uint16_t head[2] = {PLAN_JOIN, 2};
  char path[32];
  if (fd < 0) return 0;
  uint32_t length = (uint32_t)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  uint32_t bytes = (uint32_t)put_field(at + 8, path, length);
  bytes += (uint32_t)put_field(at + 8 + bytes, &flag, sizeof flag);
  memcpy(at, head, sizeof head);
  memcpy(at + sizeof head, &bytes, sizeof bytes);
  return 8 + bytes;
}

/** The plan of later runs: as the first, but that it joins what the first has made. */
static int extend(struct shim* shim) {
  struct restart* restart = &shim->restart;
  size_t bytes = (size_t)(shim->plan.end - shim->plan.at);
  char* memory =
      mmap(NULL, bytes + EXTENSION_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -1;
  memcpy(memory, shim->plan.at, bytes);
  char* end = memory + bytes;
  end += put_join(end, restart->network, CLONE_NEWNET);
  end += put_join(end, restart->users, CLONE_NEWUSER);
  restart->plan = (struct plan){.at = memory, .end = end};
  return 0;
}

int restart_keep(struct shim* shim, struct failure* failure) {
  if (shim->restart.condition == RESTART_NONE) return 0;
  if (keep(shim, CLONE_NEWNET, "net", &shim->restart.network, failure) != 0) return -1;
  // The network namespace is the user namespace's: another could not enter it.
  if (keep(shim, CLONE_NEWUSER, "user", &shim->restart.users, failure) != 0) return -1;
  return extend(shim) == 0 ? 0 : failed(failure, "keeping the plan", "mmap", "");
}

void restart_attended(struct restart* restart, int client, long version) {
  const unsigned bit = 1u << client;
  restart->attending |= bit;
  restart->taking = version >= CONTROL_TAKES ? restart->taking | bit : restart->taking & ~bit;
  restart->told &= ~bit;
  restart->retired = 0;
}

void restart_left(struct restart* restart, int client) {
  if (!(restart->attending & 1u << client)) return;
  restart->attending &= ~(1u << client);
  restart->unattended_since = monotonic_ms();
}

void restart_taken(struct restart* restart, int client) {
  if (restart->attending & restart->told & 1u << client) restart->taken = 1;
}

static int is_spent(const struct restart* restart, int64_t now) {
  if (restart->attempts == 0 || restart->count < restart->attempts) return 0;
  return restart->window_ms == 0 || *time_of(restart, restart->count) > now - restart->window_ms;
}

static int64_t delay_of(const struct restart* restart) {
  int64_t delay = restart->delay_ms;
  unsigned doublings = restart->quick > 1 ? restart->quick - 1 : 0;
  if (doublings > DOUBLINGS_MAX) doublings = DOUBLINGS_MAX;
  if (doublings == 0) return delay;
  int64_t grown = (delay > DELAY_FLOOR_MS ? delay : DELAY_FLOOR_MS) << doublings;
  if (grown > DELAY_MAX_MS) grown = DELAY_MAX_MS;
  return grown > delay ? grown : delay;
}

/** What has come by now, the end of an agent too, is heard before anything is decided. */
static void hear_all(struct shim* shim) {
  for (int heard = 0; heard < WORDS_MAX && control_wait(shim, 0); heard++) continue;
}

/** Every end is theirs who attend but do not take ends. */
static int is_somebodys(const struct restart* restart) {
  return (restart->attending & ~restart->taking) != 0 || restart->taken || restart->retired;
}

static void tell_end(struct shim* shim) {
  struct restart* restart = &shim->restart;
  for (int i = 0; i < CLIENTS_MAX; i++) {
    if (restart->attending & ~restart->told & 1u << i) say(shim->clients[i], "ended");
  }
  restart->told |= restart->attending;
}

/** 1 = the time has come and nobody is there. */
static int wait_unattended(struct shim* shim, int64_t ended) {
  const struct restart* restart = &shim->restart;
  for (;;) {
    hear_all(shim);
    if (is_somebodys(restart)) return 0;
    if (restart->attending) {
      tell_end(shim);
      control_wait(shim, -1);
      continue;
    }
    int64_t held = restart->unattended_since + restart->hold_ms, ready = ended + delay_of(restart);
    int64_t left = (held > ready ? held : ready) - monotonic_ms();
    if (left <= 0) return 1;
    control_wait(shim, left > DELAY_MAX_MS ? DELAY_MAX_MS : (int)left);
  }
}

/** A volatile overlay refuses its work folder a second time, in case the host has crashed. It has not: we are here.
 * Source: the kernel's filesystems/overlayfs.rst, "Volatile mount". */
static void allow_remount(struct plan plan) {
  static const char* const marks[] = {"work/incompat/volatile/dirty", "work/incompat/volatile",
                                      "work/incompat"};
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    if (record.op != PLAN_OVERLAY) continue;
    int work = open(plan_text(&record, 3), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; work >= 0 && i < sizeof marks / sizeof *marks; i++)
      unlinkat(work, marks[i], i == 0 ? 0 : AT_REMOVEDIR);
    if (work >= 0) close(work);
  }
}

static void put_exit_aside(struct shim* shim) {
  char name[32];
  snprintf(name, sizeof name, "exit.%u.json", shim->restart.run);
  renameat(shim->folder, "exit.json", shim->folder, name);
  if (shim->restart.run <= PAST_RUNS_MAX) return;
  snprintf(name, sizeof name, "exit.%u.json", shim->restart.run - PAST_RUNS_MAX);
  unlinkat(shim->folder, name, 0);
}

static void count_restart(struct shim* shim) {
  struct restart* restart = &shim->restart;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  shim->started_seconds = now.tv_sec;
  shim->started_nanoseconds = now.tv_nsec;
  if (restart->times) *time_of(restart, restart->count) = monotonic_ms();
  restart->count++;
  restart->run++;
  restart->told = 0;
}

static int begin(struct shim* shim, struct failure* failure) {
  // The terminal's master is closed with the stream that it was.
  if (shim->terminal.peer >= 0) close(shim->terminal.peer);
  shim->terminal = (struct terminal){.master = -1, .peer = -1};
  shim->plan = shim->restart.plan;
  if (shim->restart.network >= 0) shim->clone_flags &= ~(uint64_t)CLONE_NEWNET;
  if (shim->restart.users >= 0) shim->clone_flags &= ~(uint64_t)CLONE_NEWUSER;
  allow_remount(shim->plan);
  overlay_let_go();
  if (spawn_init(shim, failure) != 0 || furnish_init(shim, failure) != 0) return -1;
  if (hear_init(shim, failure, 1) != 0) return -1;
  hold_mounts(shim);
  // One whose command cannot be run ends by itself, and says so to its parent like any other.
  if (let_go(shim, failure) != 0 && shim->life != LIFE_RUNNING) return -1;
  return record_state(shim, failure);
}

static void end_half_begun(struct shim* shim) {
  if (shim->pid > 0) {
    kill(shim->pid, SIGKILL);
    while (waitpid(shim->pid, NULL, __WALL) < 0 && errno == EINTR) continue;
  }
  if (shim->door >= 0) close(shim->door);
  shim->door = -1;
}

int restart_again(struct shim* shim, int succeeded, struct failure* failure) {
  struct restart* restart = &shim->restart;
  int64_t ended = monotonic_ms();
  if (restart->condition == RESTART_NONE || shim->life == LIFE_CREATED) return 0;
  hear_all(shim);
  if (restart->condition == RESTART_ON_FAILURE && succeeded) return 0;
  if (is_somebodys(restart) || is_spent(restart, ended) || restart->failed == BEGINS_MAX) return 0;
  restart->quick = ended - restart->run_since >= STEADY_MS ? 0 : restart->quick + 1;
  shim->life = LIFE_WAITING;
  if (!wait_unattended(shim, ended)) return 0;
  put_exit_aside(shim);
  count_restart(shim);
  close(shim->pidfd);
  // The writable layer can be mounted again only when nobody has it mounted any more.
  if (shim->mounts >= 0) close(shim->mounts);
  shim->pid = 0;
  shim->start_time = 0;
  shim->pidfd = shim->door = shim->mounts = -1;
  if (begin(shim, failure) == 0) return restart->failed = 0, 1;
  end_half_begun(shim);
  struct failure unrecorded;
  record_state(shim,
               &unrecorded);  // the log tells the first failure, the exits tell how many runs there were
  restart->failed++;
  restart->run_since = monotonic_ms();
  return -1;
}
