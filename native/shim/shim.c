// covey-shim: the parent of one container. It makes the container from a plan, pumps its log, answers on a control
// socket, records the exit and ends. It outlives the agent; nothing but SIGKILL ends it early, and then the container's
// first process dies with it.
//
//   covey-shim ID         make and keep a container: plan on descriptor 3; the id is for people who look at ps
//                         (when the plan says leave: make it and end, leave.h)
//   covey-shim --join     run one more command in a container and end; pidfd on 4 (join.c)
//   covey-shim --exec     run one more command in a container: plan on descriptor 3, its first process' pidfd on 4
//   covey-shim --template ROOM   be what shims are copied from: requests on descriptor 3 (template.h)
//   covey-shim --hold     keep a cgroup scope alive: sleeps until SIGTERM
//   covey-shim --probe-ids FOLDER   tell whether ids of files in it can be mapped: status 0, or an error as on descriptor 3
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "fault.h"
#include "init.h"
#include "log_line.h"
#include "sys.h"
#include "template.h"
#include "userns.h"

static int read_all(int fd, void* to, size_t bytes) {
  char* at = to;
  while (bytes > 0) {
    ssize_t n = read(fd, at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    at += n;
    bytes -= (size_t)n;
  }
  return 0;
}

int read_plan(int fd, struct plan* plan) {
  uint32_t header[2];
  if (read_all(fd, header, sizeof header) != 0 || header[0] != PLAN_MAGIC || header[1] > PLAN_BYTES_MAX)
    return -1;
  char* memory = mmap(NULL, header[1] + 1u, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || read_all(fd, memory, header[1]) != 0) return -1;
  plan->at = memory;
  plan->end = memory + header[1];
  return 0;
}

static const char* skip_fields(const char* at, int count) {
  for (; at && count > 0; count--) at = strchr(at + 1, ' ');
  return at;
}

int read_birth(pid_t pid, struct birth* birth) {
  char path[32], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return -1;
  text[n] = '\0';
  // The name, field 2, may have any sign in it. Source: proc_pid_stat(5).
  const char* start = skip_fields(strrchr(text, ')'), 22 - 2);
  const char* processor = skip_fields(start, 39 - 22);
  if (!processor) return -1;
  birth->time = strtoull(start + 1, NULL, 10);
  birth->processor = (int)strtol(processor + 1, NULL, 10);
  return 0;
}

/** The file that becomes a record. What it holds is overwritten, not thrown away first: its room would be gone. */
static int open_draft(int folder, const char* name, char draft[DRAFT_BYTES]) {
  snprintf(draft, DRAFT_BYTES, ".%s.new", name);
  return openat(folder, draft, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static int put_draft(int fd, const char* bytes, size_t size) {
  ssize_t n = write(fd, bytes, size);
  int whole = n == (ssize_t)size && ftruncate(fd, n) == 0;
  // A disk that takes a part has no room for the rest.
  if (n >= 0 && n < (ssize_t)size) errno = ENOSPC;
  int cause = errno;
  close(fd);
  errno = cause;
  return whole ? 0 : -1;
}

int keep_room(int folder, const char* name) {
  char draft[DRAFT_BYTES], blank[RECORD_BYTES];
  memset(blank, ' ', sizeof blank);
  int fd = open_draft(folder, name, draft);
  return fd < 0 ? -1 : put_draft(fd, blank, sizeof blank);
}

int write_record(int folder, const char* name, const char* text) {
  char draft[DRAFT_BYTES];
  int fd = open_draft(folder, name, draft);
  if (fd < 0 || put_draft(fd, text, strlen(text)) != 0) return -1;
  return renameat(folder, draft, folder, name);
}

void say(int fd, const char* text) {
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) return;
}

static void say_failure(int fd, const struct failure* failure) {
  char text[400];
  failure_text(failure, text, sizeof text);
  say(fd, text);
}

static int open_log(struct log* log, const struct plan_record* record) {
  struct log_settings settings = {.path = plan_text(record, 0),
                                  .size_max = plan_number(record, 1),
                                  .files = (unsigned)plan_number(record, 2),
                                  .format = (enum plan_log_format)plan_number(record, 3),
                                  .buffer = plan_number(record, 4)};
  return log_open(log, &settings);
}

static int make_folder(const struct plan_record* record, struct failure* failure) {
  static const char step[] = "preparing the container";
  const char* path = plan_text(record, 0);
  uid_t uid = (uid_t)plan_number(record, 2);
  gid_t gid = (gid_t)plan_number(record, 3);
  // One with a limit of its own was made before.
  if (mkdir(path, (mode_t)plan_number(record, 1)) != 0 && errno != EEXIST)
    return failed(failure, step, "mkdir", path);
  if ((uid || gid) && lchown(path, uid, gid) != 0) return failed(failure, step, "lchown", path);
  return 0;
}

static int take_settings(struct shim* shim, struct failure* failure) {
  static const char step[] = "preparing the container";
  struct plan plan = shim->plan;
  struct plan_record record;
  int more;
  while ((more = plan_next(&plan, &record)) == 1) {
    const char* text = plan_text(&record, 0);
    switch (record.op) {
      case PLAN_STATE_DIR:
        shim->folder = open(text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (shim->folder < 0) return failed(failure, step, "open", text);
        break;
      case PLAN_BOOT_ID:
        snprintf(shim->boot_id, sizeof shim->boot_id, "%s", text);
        break;
      case PLAN_CLONE_FLAGS:
        shim->clone_flags = plan_number(&record, 0);
        break;
      case PLAN_DIR:
        if (make_folder(&record, failure) != 0) return -1;
        break;
      case PLAN_LOG:
        if (open_log(&shim->log, &record) != 0) return failed(failure, "opening the log", "open", text);
        break;
      case PLAN_STDIN:
        shim->taps.once = plan_number(&record, 0) != 0;
        break;
      case PLAN_RESTART:
        if (restart_take(&shim->restart, &record, failure) != 0) return -1;
        break;
      default:
        break;
    }
  }
  return more == 0 ? 0 : failed_as(failure, EBADMSG, "reading the plan", "plan", "");
}

/** What is read and killed by when the container ends, opened while its cgroup is sure to be there. */
static int open_cgroup_files(struct shim* shim, struct failure* failure) {
  static const char step[] = "preparing the container";
  struct plan plan = shim->plan;
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    const char* path = plan_text(&record, 0);
    int* fd = record.op == PLAN_OOM_FILE   ? &shim->oom
              : record.op == PLAN_KILL_DIR ? &shim->kill_folder
                                           : NULL;
    if (!fd) continue;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return failed(failure, step, "open", path);
  }
  return 0;
}

/** One stream instead of two. We hold the peer too, so that the terminal lives when all processes have closed it. */
static void take_terminal(struct shim* shim, const int ends[2]) {
  shim->terminal = (struct terminal){.master = ends[0], .peer = ends[1]};
  close(shim->streams[0].fd);
  close(shim->streams[1].fd);
  shim->streams[0].fd = ends[0];
  shim->streams[1].fd = -1;
  shim->taps.input = ends[0];
  shim->taps.is_terminal = 1;
}

int hear_init(struct shim* shim, struct failure* failure, int ready_expected) {
  struct failure heard;
  int ends[2];
  ssize_t n = receive_descriptors(shim->door, &heard, sizeof heard, ends);
  if (ends[0] >= 0) take_terminal(shim, ends);
  if (n == (ssize_t)sizeof heard) return *failure = heard, -1;
  if (n == 1 && ready_expected) return 0;
  if (n == 0 && !ready_expected) return 0;
  return failed_as(failure, ECHILD, "waiting for the first process", "read", "it died before it was ready");
}

int record_state(struct shim* shim, struct failure* failure) {
  static const char step[] = "recording the state";
  struct birth own;
  if (read_birth(getpid(), &own) != 0) return failed(failure, step, "open", "/proc/PID/stat");
  shim->own_start_time = own.time;
  char text[400], started[40] = "";
  if (shim->started_seconds) log_time(started, shim->started_seconds, shim->started_nanoseconds);
  snprintf(
      text, sizeof text,
      "{\"version\":%d,\"bootId\":\"%s\",\"pid\":%d,\"startTime\":%llu,\"shimPid\":%d,\"shimStartTime\":%llu,"
      "\"run\":%u,\"startedAt\":\"%s\"}\n",
      CONTROL_VERSION, shim->boot_id, shim->pid, shim->start_time, getpid(), shim->own_start_time,
      shim->restart.run, started);
  if (write_record(shim->folder, "state.json", text) != 0)
    return failed(failure, step, "write", "state.json");
  // Taken while there is some: a container that fills the disk must not hide its own end.
  if (keep_room(shim->folder, "exit.json") != 0) return failed(failure, step, "write", "exit.json");
  return 0;
}

/** The record comes last: until then the container is being created, for hooks too. */
static int create_to_leave(struct shim* shim, struct failure* failure) {
  if (leave_listen(&shim->leave, shim->folder, failure) != 0) return -1;
  if (spawn_init(shim, failure) != 0 || furnish_init(shim, failure) != 0) return -1;
  if (leave_hooks(shim->plan, shim->door, shim->pid, failure) != 0) return -1;
  if (hear_init(shim, failure, 1) != 0) return -1;
  return record_state(shim, failure);
}

void hold_mounts(struct shim* shim) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", shim->pid);
  shim->mounts = open(path, O_RDONLY | O_CLOEXEC);
  if (shim->mounts < 0) errno = 0;
}

static int make_cgroups(struct shim* shim, struct failure* failure) {
  if (cgroup_make(shim->plan, failure) != 0 || fault_at("create.cgroup", failure) != 0) return -1;
  return open_cgroup_files(shim, failure);
}

/** In a pid namespace that others live in too, a container's orphans would be the host's: they are ours to reap. */
static int adopt_orphans(struct shim* shim, struct failure* failure) {
  static const char step[] = "becoming the parent of orphans";
  sigset_t children;
  if (shim->clone_flags & CLONE_NEWPID) return 0;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return failed(failure, step, "prctl", "");
  shim->children = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  return shim->children < 0 ? failed(failure, step, "signalfd", "") : 0;
}

static int create(struct shim* shim, struct failure* failure) {
  if (fault_at("create.plan", failure) != 0 || take_settings(shim, failure) != 0) return -1;
  if (fault_at("create.settings", failure) != 0) return -1;
  int late = init_is_late(shim);
  if (!late && make_cgroups(shim, failure) != 0) return -1;
  if (shim->leave.on) return create_to_leave(shim, failure);
  if (adopt_orphans(shim, failure) != 0) return -1;
  if (spawn_init(shim, failure) != 0 || fault_at("create.spawn", failure) != 0) return -1;
  if (late && make_cgroups(shim, failure) != 0) return -1;
  if (furnish_init(shim, failure) != 0) return -1;
  // While the first process mounts.
  if (control_open(shim, failure) != 0 || fault_at("create.control", failure) != 0) return -1;
  if (record_state(shim, failure) != 0 || fault_at("create.state", failure) != 0) return -1;
  if (hear_init(shim, failure, 1) != 0 || restart_keep(shim, failure) != 0) return -1;
  hold_mounts(shim);
  return fault_at("create.ready", failure);
}

static void undo(struct shim* shim) {
  int status;
  if (shim->pid > 0) {
    kill(shim->pid, SIGKILL);
    if (shim->kill_folder >= 0) cgroup_kill(shim->kill_folder);
    while (waitpid(shim->pid, &status, __WALL) < 0 && errno == EINTR) continue;
  }
  cgroup_unmake(shim->plan);
  if (shim->folder >= 0) {
    unlinkat(shim->folder, shim->leave.on ? START_NAME : CONTROL_NAME, 0);
    unlinkat(shim->folder, "state.json", 0);
  }
}

void harden(const char* name) {
  // Whoever shares a pid namespace with us must not reach our memory or our executable (CVE-2019-5736).
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  prctl(PR_SET_NAME, name, 0, 0, 0);
  // Nobody ends us but by SIGKILL. Blocked rather than ignored: one call, and exec in the container starts clean.
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, NULL);
  if (chdir("/") != 0) _exit(125);
}

static void outlast(void) {
  // Losing the shim loses the container. Not everyone may lower it; then it stays as it is.
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (write(fd, "-999", 4) < 0) errno = 0;
    close(fd);
  }
}

static int run(void) {
  // Zero until set below: its 32 KiB of buffers cost nothing before they are used.
  static struct shim shim;
  shim.folder = shim.kill_folder = shim.oom = shim.streams[0].fd = shim.streams[1].fd = -1;
  shim.terminal = (struct terminal){.master = -1, .peer = -1};
  shim.mounts = shim.children = shim.restart.network = shim.restart.users = -1;
  shim.restart.run = 1;
  taps_init(&shim.taps);
  static const char* const names[] = {"stdout", "stderr"};
  for (int i = 0; i < 2; i++) {
    shim.streams[i].name = names[i];
    shim.streams[i].number = i + 1;
    shim.streams[i].taps = &shim.taps;
  }
  struct failure failure = {.error = 0};
  char text[128];
  harden("covey-shim");
  fcntl(DOOR, F_SETFD, FD_CLOEXEC);
  if (read_plan(DOOR, &shim.plan) != 0) {
    failed_as(&failure, EBADMSG, "reading the plan", "read", "");
    say_failure(DOOR, &failure);
    return 125;
  }
  fault_read(shim.plan);
  leave_read(&shim.leave, shim.plan, DOOR + 1);
  if (!shim.leave.on) outlast();
  int made = create(&shim, &failure);
  if (made == 0) {
    snprintf(text, sizeof text, "ok\n%d\n%llu\n%d\n%llu\n", shim.pid, shim.start_time, getpid(),
             shim.own_start_time);
    // The agent is gone: nobody has learnt of this container, so it is not made.
    if (send(DOOR, text, strlen(text), MSG_NOSIGNAL) < 0) made = failed(&failure, "answering", "send", "");
  }
  if (made != 0) {
    undo(&shim);
    say_failure(DOOR, &failure);
    return 125;
  }
  fault_at("create.answer", NULL);
  if (shim.leave.on) return 0;
  control_keep_door(&shim);
  munmap((void*)shim.plan.at, (size_t)(shim.plan.end - shim.plan.at) + 1u);
  watch(&shim);
  return 0;
}

static int hold(void) {
  sigset_t set;
  int number;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  while (sigwait(&set, &number) != 0 || number != SIGTERM) continue;
  return 0;
}

static int probe_ids(const char* folder) {
  struct failure failure = {.error = 0};
  char text[400];
  if (userns_probe(folder, &failure) == 0) return 0;
  int length = failure_text(&failure, text, sizeof text);
  return write(1, text, (size_t)length) == length ? 1 : 2;
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--hold") == 0) return hold();
  if (argc > 2 && strcmp(argv[1], "--probe-ids") == 0) return probe_ids(argv[2]);
  struct stat st;
  int has_door = fstat(DOOR, &st) == 0 && S_ISSOCK(st.st_mode);
  if (has_door && argc > TEMPLATE_ROOM && strcmp(argv[1], "--template") == 0) {
    int outcome = template_main(argv);
    if (outcome != TEMPLATE_COPY) return outcome;
    setpgid(0, 0);
    return run();
  }
  if (has_door && argc > 1 && strcmp(argv[1], "--exec") == 0) return exec_main();
  if (has_door && argc > 1 && strcmp(argv[1], "--join") == 0) return join_main();
  if (!has_door) {
    static const char usage[] = "covey-shim is started by covey-agent; it takes a plan on descriptor 3\n";
    return write(2, usage, sizeof usage - 1) < 0 ? 1 : 2;
  }
  return run();
}
