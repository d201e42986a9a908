// What the parts of the shim share.
#pragma once

#include <sys/stat.h>

#include "failure.h"
#include "leave.h"
#include "log.h"
#include "plan.h"
#include "restart.h"
#include "taps.h"
#include "terminal.h"

/** The descriptor the addon speaks to us on. */
#define DOOR 3
/** Of the control socket's language; a new agent must understand every old one. 2: attend, retire, the run's number. 3: an
 * end that may be followed by another run is told to those who attend, and theirs once one has taken it. */
#define CONTROL_VERSION 3
/** The first version whose agents take ends. */
#define CONTROL_TAKES 3
#define CONTROL_NAME "control"
#define CLIENTS_MAX 5
/** Our maker's place among the clients. */
#define DOOR_CLIENT 0

/** WAITING: between two runs, restart.h. */
enum life { LIFE_CREATED, LIFE_RUNNING, LIFE_EXITED, LIFE_WAITING };

struct shim {
  struct plan plan;
  int folder;       // state folder
  int kill_folder;  // -1: the first process takes all others with it
  int door;         // to the first process, until exec
  int pidfd;
  int children;  // tells of orphans that have ended; -1: they are not ours
  int mounts;    // the first process' mount namespace, hold_mounts; -1 = not held
  int oom;
  int listener;
  int clients[CLIENTS_MAX];
  pid_t pid;
  unsigned long long start_time, own_start_time;
  uint64_t clone_flags;
  char boot_id[64];
  enum life life;
  int64_t started_seconds;
  long started_nanoseconds;
  unsigned long long oom_before;  // the cgroup's OOM kills when this run began
  struct restart restart;
  struct log log;
  struct log_stream streams[2];
  struct taps taps;
  struct terminal terminal;  // -1 without one; its master is then the first stream
  struct leave leave;
};

/** Reads a plan from a socket into memory of its own. 0 or -1. */
int read_plan(int fd, struct plan* plan);

/** Of /proc/PID/stat: when it was born, in clock ticks since the boot, and which processor it runs on or waits for. */
struct birth {
  unsigned long long time;
  int processor;
};

/** 0, or -1 with errno. */
int read_birth(pid_t pid, struct birth* birth);

/** Of a name with what makes it a draft. */
enum { DRAFT_BYTES = 32, RECORD_BYTES = 512 };

/** Takes the room that a record of up to RECORD_BYTES will need. 0 or -1 with errno. */
int keep_room(int folder, const char* name);

/** Puts a small file in place by rename. 0 or -1 with errno. */
int write_record(int folder, const char* name, const char* text);

/** Makes this program hard to reach for what shares its pid namespace: no dumps, its own name, no signals. */
void harden(const char* name);

/** Sends one message, whole or not at all; a peer that is gone is no matter. */
void say(int fd, const char* text);

/**
 * Whether the first process is cloned before its cgroups are there, and makes its network namespace meanwhile: the two take
 * longest of all. Not where cgroups are entered by the clone, nor where hooks run between.
 */
int init_is_late(const struct shim* shim);

/** Clones the first process into its namespaces. 0, or -1 with `failure`. */
int spawn_init(struct shim* shim, struct failure* failure);

/** Tells it that its cgroups are there, and hands it what only we can make. 0, or -1 with `failure`. */
int furnish_init(const struct shim* shim, struct failure* failure);

/** Writes state.json, where another agent finds the container again: who lives here, and in which run. */
int record_state(struct shim* shim, struct failure* failure);

/**
 * Holds the first process' mount namespace. Mounts are taken down by the last who holds them, which takes a good part of a
 * millisecond: by us, once the end was told, instead of by the first process before it is seen to have ended. Without the
 * right to, it is told later, no more.
 */
void hold_mounts(struct shim* shim);

/** Lets the first process run its command. 0, or -1 with `failure`; then it is RUNNING for the moment until it has ended,
 * unless it was gone before. */
int let_go(struct shim* shim, struct failure* failure);

/** Reads the next word of the first process: ready (`ready_expected`), or the end by exec. 0, or -1 with its
 * failure. */
int hear_init(struct shim* shim, struct failure* failure, int ready_expected);

/** Opens the control socket in the state folder. */
int control_open(struct shim* shim, struct failure* failure);

/** Our maker is a client from now on, by the door. */
void control_keep_door(struct shim* shim);

/** Who holds its other end learns by it that the container's end is on the disk. */
void control_close_door(struct shim* shim);

/** Takes a new client. */
void control_accept(struct shim* shim);

/** Answers for `ms` at most (-1: without limit), or until something was answered (then 1); between two runs. */
int control_wait(struct shim* shim, int ms);

/** Answers one request of a client, or forgets the client. */
void control_serve(struct shim* shim, int index);

/** Pumps, answers and waits until the container has ended and its exit is on disk. */
void watch(struct shim* shim);

/** `covey-shim --exec`; gives the exit status of this program. */
int exec_main(void);

/** `covey-shim --join`; gives the exit status of this program. */
int join_main(void);
