// One more command inside a running container, for health checks (its output is captured) and for users (its
// streams are theirs, stream.h): same namespaces and cgroups, user and capabilities as the plan says. Its whole
// tree is put into a cgroup of its own below the container's, so that all of it can be killed: orphans in a pid
// namespace go to the container's first process, no process group or parent finds them.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "attributes.h"
#include "cgroup.h"
#include "descriptors.h"
#include "fault.h"
#include "init.h"
#include "namespaces.h"
#include "program.h"
#include "shim.h"
#include "stream.h"
#include "sys.h"

#define TARGET 4
#define TASKS_MAX 16

struct run {
  struct plan plan;
  int tasks[TASKS_MAX];  // opened while the host's paths can still be seen
  unsigned task_count;
  int unified;
  int proc;  // the host's
  int tree_parent;
  int tree;
  const char* tree_name;
  int timeout_ms;
  size_t output_max;
  size_t output_used;
  char* output;
  int pipe[2];
  int door[2];
  int null;
  pid_t pid;
  int pidfd;
  int timed_out;  // or its caller has gone: its tree was killed
  int own_user;   // the container has a user namespace of its own
  struct stream stream;
};

static int open_tree_folder(struct run* run, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "making the cgroup of the command";
  const char* parent = plan_text(record, 0);
  run->tree_name = plan_text(record, 1);
  run->tree_parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (run->tree_parent < 0) return failed(failure, step, "open", parent);
  if (mkdirat(run->tree_parent, run->tree_name, 0755) != 0)
    return failed(failure, step, "mkdir", run->tree_name);
  run->tree = openat(run->tree_parent, run->tree_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return run->tree < 0 ? failed(failure, step, "open", run->tree_name) : 0;
}

static int take_settings(struct run* run, struct failure* failure) {
  static const char step[] = "preparing the command";
  struct plan plan = run->plan;
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    const char* text = plan_text(&record, 0);
    if (record.op == PLAN_TIMEOUT) run->timeout_ms = (int)plan_number(&record, 0);
    if (record.op == PLAN_OUTPUT_MAX) run->output_max = (size_t)plan_number(&record, 0);
    if (record.op == PLAN_TREE_DIR && open_tree_folder(run, &record, failure) != 0) return -1;
    if (record.op == PLAN_CGROUP_TASKS) {
      if (run->task_count == TASKS_MAX) return failed_as(failure, E2BIG, step, "open", text);
      int fd = open(text, O_WRONLY | O_CLOEXEC);
      if (fd < 0) return failed(failure, step, "open", text);
      run->tasks[run->task_count++] = fd;
    }
    if (record.op == PLAN_CGROUP_UNIFIED) run->unified = 1;
    if (record.op == PLAN_START_AFFINITY && attribute_affinity(&record.field[0], failure) != 0) return -1;
    // Inherited by the command: the /proc that it sees is the container's. The agent's own may be below zero.
    if (record.op == PLAN_OOM_SCORE && attribute_oom_score(&record, failure) != 0) return -1;
    if (record.op == PLAN_STREAM) stream_take(&run->stream, &record);
  }
  if (run->unified && run->tree < 0) return failed_as(failure, EINVAL, step, "plan", "no cgroup");
  run->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (run->proc < 0) return failed(failure, step, "open", "/proc");
  run->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  run->output = mmap(NULL, run->output_max + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (run->output == MAP_FAILED) return failed(failure, step, "mmap", "");
  if (pipe2(run->pipe, O_CLOEXEC) != 0 || pipe2(run->door, O_CLOEXEC) != 0)
    return failed(failure, step, "pipe2", "");
  return stream_give(&run->stream, run->plan, failure);
}

static _Noreturn void child_gives_up(const struct run* run, const struct failure* failure) {
  if (write(run->door[1], failure, sizeof *failure) < 0) _exit(126);
  _exit(127);
}

/** The cgroups' and /proc's folders are the host's. */
static int close_the_hosts(const struct run* run, struct failure* failure) {
  struct kept kept = {.count = 0};
  keep(&kept, run->door[1]);
  keep(&kept, run->pipe[1]);
  keep(&kept, run->null);
  return close_others(&kept, failure);
}

static int place(const struct run* run, struct failure* failure) {
  if (!run->stream.wanted &&
      (dup2(run->null, 0) < 0 || dup2(run->pipe[1], 1) < 0 || dup2(run->pipe[1], 2) < 0)) {
    return failed(failure, "placing stdio", "dup2", "");
  }
  if (sys_close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) == 0) return 0;
  return failed(failure, "closing", "close_range", "");
}

/**
 * From now on the command dies with its helper. Only after becoming the user, which takes that back; a helper that died
 * before has nobody left to tell of the command.
 */
static int bind_to_helper(const struct run* run, struct failure* failure) {
  static const char step[] = "binding the command to its helper";
  struct pollfd helper = {.fd = run->door[1]};
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
    return failed(failure, step, "prctl", "PR_SET_PDEATHSIG");
  if (poll(&helper, 1, 0) > 0 && helper.revents & POLLERR) return failed_as(failure, ESRCH, step, "poll", "");
  return 0;
}

static _Noreturn void child(struct run* run) {
  static struct program program;
  struct failure failure = {.error = 0};
  struct plan_record record;
  setsid();
  // The helper's ends: the caller hears of its death at once, and with no reader left our end of the pipe tells us.
  close(DOOR);
  close(run->door[0]);
  if (fault_at("exec.child", &failure) != 0) child_gives_up(run, &failure);
  for (unsigned i = 0; i < run->task_count; i++) {
    if (write(run->tasks[i], "0", 1) == 1) continue;
    failed(&failure, "entering a cgroup", "write", "tasks");
    child_gives_up(run, &failure);
  }
  if (namespaces_enter_last(TARGET, run->own_user, &failure) != 0) child_gives_up(run, &failure);
  // Another user namespace makes a process what fs.suid_dumpable says.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  for (struct plan plan = run->plan; plan_next(&plan, &record) == 1;) {
    if (record.op == PLAN_LABEL && attribute_label(run->proc, &record, &failure) != 0)
      child_gives_up(run, &failure);
    if (record.op < PLAN_RLIMIT || record.op == PLAN_OOM_SCORE) continue;
    if (program_step(&program, &record, &failure) != 0) child_gives_up(run, &failure);
  }
  if (stream_enter(&run->stream, program.uid, &failure) != 0) child_gives_up(run, &failure);
  if (close_the_hosts(run, &failure) != 0) child_gives_up(run, &failure);
  if (become(&program, 0, &failure) != 0 || place(run, &failure) != 0) child_gives_up(run, &failure);
  if (bind_to_helper(run, &failure) != 0) child_gives_up(run, &failure);
  if (fault_at("exec.ready", &failure) != 0) child_gives_up(run, &failure);
  program_run(&program, run->door[1], &failure);
  child_gives_up(run, &failure);
}

static int launch(struct run* run, struct failure* failure) {
  static const char step[] = "joining the container";
  struct failure heard;
  if (fault_at("exec.settings", failure) != 0) return -1;
  run->own_user = namespaces_enter(TARGET, run->plan, failure);
  if (run->own_user < 0) return -1;
  if (fault_at("exec.joined", failure) != 0) return -1;
  if (stream_open(&run->stream, failure) != 0) return -1;
  struct clone_arguments args = {
      .flags = CLONE_PIDFD_ | (run->unified ? CLONE_INTO_CGROUP_ : 0),
      .pidfd = (uint64_t)(uintptr_t)&run->pidfd,
      .exit_signal = SIGCHLD,
      .cgroup = run->unified ? (uint64_t)run->tree : 0,
  };
  run->pid = sys_clone3(&args);
  if (run->pid < 0) return failed(failure, step, "clone3", "");
  if (run->pid == 0) child(run);
  fault_at("exec.cloned", NULL);
  close(run->pipe[1]);
  close(run->door[1]);
  stream_leave(&run->stream, run->null);
  ssize_t n;
  do n = read(run->door[0], &heard, sizeof heard);
  while (n < 0 && errno == EINTR);
  if (n == 0) return 0;
  return *failure = heard, -1;
}

/** One read; what is beyond the limit is dropped. 0 at the end of the stream. */
static int take_output(struct run* run) {
  char rest[4096];
  ssize_t n = read(run->pipe[0], rest, sizeof rest);
  if (n < 0) return errno == EINTR;
  size_t room = run->output_max - run->output_used;
  size_t kept = (size_t)n < room ? (size_t)n : room;
  memcpy(run->output + run->output_used, rest, kept);
  run->output_used += kept;
  return n > 0;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for_end(struct run* run) {
  int status = 0;
  int64_t end = now_ms() + run->timeout_ms;
  fcntl(run->pipe[0], F_SETFL, O_NONBLOCK);
  struct pollfd polls[2] = {{.fd = run->pidfd, .events = POLLIN}, {.fd = run->pipe[0], .events = POLLIN}};
  for (;;) {
    int64_t left = end - now_ms();
    if (left <= 0) {
      run->timed_out = 1;
      break;
    }
    if (poll(polls, 2, (int)left) < 0) continue;
    if (polls[1].revents && !take_output(run)) polls[1].fd = -1;
    if (polls[0].revents) break;
  }
  if (run->timed_out) {
    if (run->tree >= 0) cgroup_kill(run->tree);
    kill(run->pid, SIGKILL);
  }
  while (waitpid(run->pid, &status, __WALL) < 0 && errno == EINTR) continue;
  while (polls[1].fd >= 0 && take_output(run)) continue;
  return status;
}

static void end_tree(const struct run* run) {
  if (run->tree < 0) return;
  // What was killed takes a moment to go. What the command left running on purpose keeps its cgroup; removing the
  // container removes both.
  int tries = run->timed_out ? 200 : 1;
  while (tries-- > 0 && unlinkat(run->tree_parent, run->tree_name, AT_REMOVEDIR) != 0 && errno == EBUSY)
    usleep(1000);
}

static void send_all(const char* text, size_t length) {
  while (length > 0) {
    ssize_t n = send(DOOR, text, length, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text += n;
    length -= (size_t)n;
  }
}

static int watch_streams(struct run* run) {
  char text[48];
  const struct streamed command = {.door = DOOR, .pidfd = run->pidfd, .pid = run->pid, .tree = run->tree};
  send_all(text, (size_t)snprintf(text, sizeof text, "started\n%d\n", run->pid));
  int status = stream_watch(&run->stream, &command, &run->timed_out);
  end_tree(run);
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  send_all(text, (size_t)snprintf(text, sizeof text, "ended\n%d\n", code));
  return 0;
}

int exec_main(void) {
  static struct run run = {.tree = -1, .tree_parent = -1, .pidfd = -1};
  struct failure failure = {.error = 0};
  char text[400];
  // Before joining: our memory and executable are the host's (CVE-2016-9962, CVE-2019-5736).
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  prctl(PR_SET_NAME, "covey-exec", 0, 0, 0);
  signal(SIGPIPE, SIG_IGN);
  sys_close_range(TARGET + 1, ~0u, 0);
  fcntl(DOOR, F_SETFD, FD_CLOEXEC);
  fcntl(TARGET, F_SETFD, FD_CLOEXEC);
  if (read_plan(DOOR, &run.plan) != 0)
    failed_as(&failure, EBADMSG, "reading the plan", "read", "");
  else
    fault_read(run.plan);
  if (failure.error != 0 || take_settings(&run, &failure) != 0 || launch(&run, &failure) != 0) {
    int status;
    if (run.pid > 0) waitpid(run.pid, &status, __WALL);
    end_tree(&run);
    send_all(text, (size_t)failure_text(&failure, text, sizeof text));
    return 125;
  }
  fault_at("exec.running", NULL);
  if (run.stream.wanted) return watch_streams(&run);
  int status = wait_for_end(&run);
  fault_at("exec.ended", NULL);
  end_tree(&run);
  int code = run.timed_out ? -1 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  int n = snprintf(text, sizeof text, "ok\n%d\n%d\n", code, run.timed_out);
  send_all(text, (size_t)n);
  send_all(run.output, run.output_used);
  return 0;
}
