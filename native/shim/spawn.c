// The birth of the first process: its clone, and what it needs of the host.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "aside.h"
#include "cgroup.h"
#include "init.h"
#include "namespaces.h"
#include "outside.h"
#include "shim.h"
#include "sys.h"
#include "userns.h"

static const char kStep[] = "making the namespaces";

struct first {
  struct clone_arguments args;
  struct init_start start;
  int ours;  // the shim's end of the door
};

/** clone3, and in the child the container. The child's pid, or -1 with errno. */
static int clone_init(const struct first* first, int* pidfd) {
  struct clone_arguments args = first->args;
  *pidfd = -1;
  args.pidfd = (uint64_t)(uintptr_t)pidfd;
  int pid = sys_clone3(&args);
  if (pid != 0) return pid;
  // Ours would keep the addon waiting for the end of the answer.
  close(DOOR);
  close(first->ours);
  init_main(first->start);
}

/** Joins what is to be joined and makes the first process a child of the shim, not of ours. */
static int clone_in_stem(void* with, struct aside* result) {
  struct first* first = with;
  if (namespaces_join(first->start.plan, &result->failure) != 0) return -1;
  first->args.flags |= CLONE_PARENT;
  first->args.exit_signal = 0;  // as the stem's own
  result->pid = clone_init(first, &result->fd);
  return result->pid < 0 ? failed(&result->failure, kStep, "clone3", "") : 0;
}

static int clone_through_stem(struct first* first, int* pidfd, struct failure* failure) {
  struct aside result;
  first->start.joined = 1;
  if (aside(0, clone_in_stem, first, &result) != 0) return *failure = result.failure, -1;
  *pidfd = result.fd;
  return result.pid;
}

/** The stdio that a caller handed on: its pipes and sockets, but no file, device or terminal of the host's. */
static int own_inherited(uid_t uid, gid_t gid, struct failure* failure) {
  for (int fd = 0; fd < 3; fd++) {
    struct stat st;
    if (fstat(fd, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) continue;
    if (fchown(fd, uid, gid) != 0) return failed(failure, "placing stdio", "fchown", "");
  }
  return 0;
}

/** Pipes' files belong to who made them; without this a container could not open its own /dev/stdout. */
static int own_stdio(const struct shim* shim, struct failure* failure) {
  struct plan plan = shim->plan;
  struct plan_record record;
  while (plan_find(&plan, PLAN_STDIO_OWNER, &record) == 1) {
    uid_t uid = (uid_t)plan_number(&record, 0);
    gid_t gid = (gid_t)plan_number(&record, 1);
    if (shim->leave.on) return own_inherited(uid, gid, failure);
    for (int i = 0; i < 2; i++) {
      if (fchown(shim->streams[i].fd, uid, gid) != 0) return failed(failure, "placing stdio", "fchown", "");
    }
    if (shim->taps.input >= 0 && fchown(shim->taps.input, uid, gid) != 0)
      return failed(failure, "placing stdio", "fchown", "");
  }
  return 0;
}

/** The score of a process in a user namespace: from inside it could be raised, but hardly set. */
static int set_oom_score(const struct shim* shim, struct failure* failure) {
  struct plan plan = shim->plan;
  struct plan_record record;
  while (plan_find(&plan, PLAN_OOM_SCORE, &record) == 1) {
    char path[48], text[24];
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", shim->pid);
    int length = snprintf(text, sizeof text, "%lld", (long long)plan_number(&record, 0));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return failed(failure, "setting the OOM score", "open", path);
    ssize_t n = write(fd, text, (size_t)length);
    int error = errno;
    close(fd);
    if (n < 0) return failed_as(failure, error, "setting the OOM score", "write", path);
  }
  return 0;
}

static int has(struct plan plan, enum plan_op op) {
  struct plan_record record;
  return plan_find(&plan, op, &record) == 1;
}

int init_is_late(const struct shim* shim) {
  struct plan plan = shim->plan;
  struct plan_record record;
  if (shim->leave.on || !(shim->clone_flags & CLONE_NEWNET)) return 0;
  return plan_find(&plan, PLAN_CGROUP_UNIFIED, &record) == 0;
}

/** No processors but those of its cpuset bound it, whatever we were bound to. */
static void unbind(const struct shim* shim) {
  cpu_set_t all[8];  // as many as a kernel can be built for
  memset(all, 0xff, sizeof all);
  if (sched_setaffinity(shim->pid, sizeof all, all) != 0) errno = 0;
}

int furnish_init(const struct shim* shim, struct failure* failure) {
  static struct outside made;
  int userns = -1;
  unbind(shim);
  if (userns_wanted(shim->plan)) {
    if (userns_map(shim->plan, shim->pid, shim->clone_flags & CLONE_NEWUSER ? 1 : 0, failure) != 0) return -1;
    if ((userns = userns_of(shim->pid, failure)) < 0) return -1;
    if (set_oom_score(shim, failure) != 0) return -1;
  }
  // One that is gone has said why, or is about to.
  if (init_is_late(shim)) say(shim->door, "c");
  if (!has(shim->plan, PLAN_OUTSIDE)) return 0;
  int outcome = outside_make(shim->plan, userns, &made, failure);
  if (userns >= 0) close(userns);
  return outcome == 0 ? outside_send(shim->door, &made, failure) : -1;
}

/** The door, and the log's pipes unless stdio is inherited. */
static int open_channels(const struct shim* shim, int door[2], int out[2], int err[2],
                         struct failure* failure) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, door) != 0)
    return failed(failure, kStep, "socketpair", "");
  if (shim->leave.on) return 0;
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return failed(failure, kStep, "pipe2", "");
  return 0;
}

/**
 * Lets the first process run beside us. The kernel may queue it on our own processor, and leaves it there while others are
 * idle, until we sleep: longer than all of its work takes. A task that does not run yet is moved at once.
 */
static int make_room(struct shim* shim, struct failure* failure) {
  struct birth birth;
  cpu_set_t others;
  int here = sched_getcpu();
  if (read_birth(shim->pid, &birth) != 0)
    return failed(failure, "recording the state", "open", "/proc/PID/stat");
  shim->start_time = birth.time;
  if (birth.processor != here || here < 0 || here >= CPU_SETSIZE) return 0;
  // Only where we may run ourselves: a host may keep processors for others.
  if (sched_getaffinity(0, sizeof others, &others) != 0) return errno = 0, 0;
  CPU_CLR((unsigned)here, &others);
  // Refused where there is no other; then it waits for us.
  if (sched_setaffinity(shim->pid, sizeof others, &others) != 0) errno = 0;
  return 0;
}

/** The pipe of what is typed. With a terminal there is none: that is the input. Gives its read end, or -1. */
static int open_input(struct shim* shim, struct failure* failure) {
  int in[2];
  taps_close_input(&shim->taps);
  shim->taps.is_terminal = 0;
  if (shim->leave.on || !has(shim->plan, PLAN_STDIN) || has(shim->plan, PLAN_TERMINAL)) return -1;
  if (pipe2(in, O_CLOEXEC) != 0) return failed(failure, kStep, "pipe2", "");
  fcntl(in[1], F_SETFL, O_NONBLOCK);
  shim->taps.input = in[1];
  return in[0];
}

int spawn_init(struct shim* shim, struct failure* failure) {
  int door[2], out[2] = {-1, -1}, err[2] = {-1, -1}, pidfd = -1;
  if (open_channels(shim, door, out, err, failure) != 0) return -1;
  int in = open_input(shim, failure);
  if (failure->error != 0) return -1;
  int cgroup = cgroup_unified(shim->plan, failure);
  if (failure->error != 0) return -1;
  uint64_t made = shim->clone_flags;
  uint64_t late = init_is_late(shim) ? CLONE_NEWNET : 0;
  struct first first = {
      .args = {.flags =
                   (made & ~(CLONE_NEWCGROUP | late)) | CLONE_PIDFD_ | (cgroup >= 0 ? CLONE_INTO_CGROUP_ : 0),
               .exit_signal = SIGCHLD,
               .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0},
      .start = {.plan = shim->plan,
                .door = door[1],
                .out = out[1],
                .err = err[1],
                .in = in,
                .made = made,
                .late = late,
                .mapped = userns_wanted(shim->plan),
                .chroots = has(shim->plan, PLAN_CHROOT),
                .leave = shim->leave},
      .ours = door[0],
  };
  if (first.start.mapped && limits_raise(shim->plan, failure) != 0) return -1;
  int pid = namespaces_need_stem(shim->plan, made) ? clone_through_stem(&first, &pidfd, failure)
                                                   : clone_init(&first, &pidfd);
  if (pid < 0) return failure->error ? -1 : failed(failure, kStep, "clone3", "");
  close(door[1]);
  if (out[1] >= 0) close(out[1]);
  if (err[1] >= 0) close(err[1]);
  if (in >= 0) close(in);
  if (cgroup >= 0) close(cgroup);
  if (out[0] >= 0) fcntl(out[0], F_SETFL, O_NONBLOCK);
  if (err[0] >= 0) fcntl(err[0], F_SETFL, O_NONBLOCK);
  shim->pid = pid;
  shim->pidfd = pidfd;
  shim->door = door[0];
  shim->streams[0].fd = out[0];
  shim->streams[1].fd = err[0];
  if (own_stdio(shim, failure) != 0) return -1;
  return make_room(shim, failure);
}
