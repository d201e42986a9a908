// One more command inside a running container for the OCI command line: it keeps our stdio or gets a terminal, and this
// program ends as soon as the command runs, so that whoever collects orphans becomes its parent.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "attributes.h"
#include "cgroup.h"
#include "descriptors.h"
#include "leave.h"
#include "namespaces.h"
#include "program.h"
#include "shim.h"
#include "sys.h"
#include "terminal.h"

#define TARGET 4
#define TASKS_MAX 16

struct join {
  struct plan plan;
  struct leave leave;
  int tasks[TASKS_MAX];  // opened while the host's paths can still be seen
  unsigned task_count;
  int unified;
  int proc;  // the host's
  int root;  // the first process' when that of its mount namespace is not the container's, else -1
  struct terminal terminal;
  int door[2];
};

static int take_settings(struct join* join, struct failure* failure) {
  static const char step[] = "preparing the command";
  struct plan plan = join->plan;
  struct plan_record record;
  join->unified = cgroup_unified(plan, failure);
  if (failure->error != 0) return -1;
  while (plan_next(&plan, &record) == 1) {
    const char* text = plan_text(&record, 0);
    if (record.op == PLAN_START_AFFINITY && attribute_affinity(&record.field[0], failure) != 0) return -1;
    // Inherited by the command: the /proc that it sees is the container's.
    if (record.op == PLAN_OOM_SCORE && attribute_oom_score(&record, failure) != 0) return -1;
    if (record.op == PLAN_CHROOT && (join->root = namespaces_root(TARGET, failure)) < 0) return -1;
    if (record.op != PLAN_CGROUP_TASKS) continue;
    if (join->task_count == TASKS_MAX) return failed_as(failure, E2BIG, step, "open", text);
    int fd = open(text, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return failed(failure, step, "open", text);
    join->tasks[join->task_count++] = fd;
  }
  join->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (join->proc < 0) return failed(failure, step, "open", "/proc");
  // Above what is handed on, which is moved down onto 3 and up.
  if (pipe2(join->door, O_CLOEXEC) != 0) return failed(failure, step, "pipe2", "");
  return 0;
}

static int open_terminal(struct join* join, const struct plan_record* size, struct failure* failure) {
  static const char where[] = "opening a terminal";
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return failed(failure, where, "open", "/");
  int outcome = terminal_open(root, &join->terminal, failure);
  close(root);
  if (outcome != 0) return -1;
  if (terminal_resize(join->terminal.master, plan_number(size, 0), plan_number(size, 1)) != 0)
    return failed(failure, where, "ioctl", "TIOCSWINSZ");
  return 0;
}

static int step(struct join* join, struct program* program, const struct plan_record* record,
                struct failure* failure) {
  if (record->op == PLAN_OOM_SCORE) return 0;
  if (record->op == PLAN_LABEL) return attribute_label(join->proc, record, failure);
  if (record->op == PLAN_TERMINAL) return open_terminal(join, record, failure);
  return record->op < PLAN_RLIMIT ? 0 : program_step(program, record, failure);
}

/** The cgroups' and /proc's folders are the host's, and so is the container's pidfd. */
static int close_the_hosts(const struct join* join, struct failure* failure) {
  struct kept kept = {.count = 0};
  keep(&kept, join->door[1]);
  keep(&kept, join->terminal.master);
  keep(&kept, join->terminal.peer);
  keep_for_leave(&kept, &join->leave);
  return close_others(&kept, failure);
}

static int prepare(struct join* join, struct program* program, struct failure* failure) {
  struct plan_record record;
  if (setsid() < 0) return failed(failure, "making a session", "setsid", "");
  for (unsigned i = 0; i < join->task_count; i++) {
    if (write(join->tasks[i], "0", 1) != 1) return failed(failure, "entering a cgroup", "write", "tasks");
  }
  for (struct plan plan = join->plan; plan_next(&plan, &record) == 1;) {
    if (step(join, program, &record, failure) != 0) return -1;
  }
  if (join->terminal.master >= 0 && terminal_enter(&join->terminal, program->uid, failure) != 0) return -1;
  if (close_the_hosts(join, failure) != 0) return -1;
  if (become(program, 0, failure) != 0) return -1;
  return leave_place(&join->leave, &join->terminal, failure);
}

static _Noreturn void child(struct join* join) {
  static struct program program;
  struct failure failure = {.error = 0};
  close(DOOR);
  if (prepare(join, &program, &failure) == 0) program_run(&program, join->door[1], &failure);
  if (write(join->door[1], &failure, sizeof failure) < 0) _exit(126);
  _exit(127);
}

/** The pid of the command, which runs by then; or -1. */
static int launch(struct join* join, struct failure* failure) {
  static const char where[] = "joining the container";
  struct failure heard;
  int status;
  if (namespaces_enter(TARGET, join->plan, failure) != 0) return -1;
  if (join->root >= 0 && (fchdir(join->root) != 0 || chroot(".") != 0))
    return failed(failure, where, "chroot", "/");
  struct clone_arguments args = {
      .flags = join->unified >= 0 ? CLONE_INTO_CGROUP_ : 0,
      .exit_signal = SIGCHLD,
      .cgroup = join->unified >= 0 ? (uint64_t)join->unified : 0,
  };
  int pid = sys_clone3(&args);
  if (pid < 0) return failed(failure, where, "clone3", "");
  if (pid == 0) child(join);
  close(join->door[1]);
  ssize_t n;
  do n = read(join->door[0], &heard, sizeof heard);
  while (n < 0 && errno == EINTR);
  if (n == 0) return pid;
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) continue;
  if (n == (ssize_t)sizeof heard) return *failure = heard, -1;
  return failed_as(failure, ECHILD, where, "read", "the command died before it ran");
}

int join_main(void) {
  static struct join join = {.root = -1, .terminal = {.master = -1, .peer = -1}};
  struct failure failure = {.error = 0};
  char text[400];
  int pid = -1;
  // Before joining: our memory and executable are the host's (CVE-2016-9962, CVE-2019-5736).
  harden("covey-exec");
  fcntl(DOOR, F_SETFD, FD_CLOEXEC);
  fcntl(TARGET, F_SETFD, FD_CLOEXEC);
  if (read_plan(DOOR, &join.plan) != 0) {
    failed_as(&failure, EBADMSG, "reading the plan", "read", "");
  } else {
    leave_read(&join.leave, join.plan, TARGET + 1);
    if (take_settings(&join, &failure) == 0) pid = launch(&join, &failure);
  }
  if (pid > 0)
    snprintf(text, sizeof text, "ok\n%d\n", pid);
  else
    failure_text(&failure, text, sizeof text);
  say(DOOR, text);
  return pid > 0 ? 0 : 125;
}
