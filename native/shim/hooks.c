#include "hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "sys.h"
#include "texts.h"

// What a failed hook said, for its error; the failure's text has no room for more.
#define SAID_MAX 120

struct running {
  pid_t pid;
  int pidfd;
  int said;     // its stdout and stderr
  int refused;  // an errno when exec failed; closed by exec
  size_t used;
  char text[SAID_MAX + 1];
};

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/** A file rather than a pipe: a hook that does not read its stdin must not hold us up. */
static int state_file(const char* state) {
  int fd = memfd_create("state", MFD_CLOEXEC);
  size_t length = strlen(state);
  if (fd < 0) return -1;
  if (write(fd, state, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) != 0) return close(fd), -1;
  return fd;
}

static _Noreturn void become_hook(const struct hook* hook, int input, int output, int refused) {
  sigset_t none;
  sigemptyset(&none);
  setsid();
  int error = 0;
  if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) error = errno;
  if (error == 0 && sys_close_range(3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) != 0) error = errno;
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (error == 0) {
    execve(hook->path, hook->args, hook->env);
    error = errno;
  }
  if (write(refused, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

static int launch(const struct hook* hook, const char* state, struct running* running) {
  int said[2], refused[2];
  int input = state_file(state);
  if (input < 0 || pipe2(said, O_CLOEXEC) != 0) return -1;
  if (pipe2(refused, O_CLOEXEC) != 0) return -1;
  struct clone_arguments args = {
      .flags = CLONE_PIDFD_, .pidfd = (uint64_t)(uintptr_t)&running->pidfd, .exit_signal = SIGCHLD};
  int pid = sys_clone3(&args);
  if (pid < 0) return -1;
  if (pid == 0) become_hook(hook, input, said[1], refused[1]);
  close(input);
  close(said[1]);
  close(refused[1]);
  fcntl(said[0], F_SETFL, O_NONBLOCK);
  running->pid = pid;
  running->said = said[0];
  running->refused = refused[0];
  return 0;
}

/** Keeps the beginning of what the hook says; 0 at the end. */
static int listen_to(struct running* running) {
  char rest[512];
  ssize_t n = read(running->said, rest, sizeof rest);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  size_t room = SAID_MAX - running->used;
  size_t kept = (size_t)n < room ? (size_t)n : room;
  memcpy(running->text + running->used, rest, kept);
  running->used += kept;
  return n > 0;
}

/** 1 when the time was up and it was killed. */
static int wait_until(struct running* running, uint64_t timeout_ms) {
  int64_t end = now_ms() + (int64_t)timeout_ms;
  struct pollfd polls[2] = {{.fd = running->pidfd, .events = POLLIN},
                            {.fd = running->said, .events = POLLIN}};
  for (;;) {
    int64_t left = timeout_ms ? end - now_ms() : -1;
    if (timeout_ms && left <= 0) {
      // Its session, so that what a shell started goes too.
      kill(-running->pid, SIGKILL);
      kill(running->pid, SIGKILL);
      return 1;
    }
    if (poll(polls, 2, left > 0x7fffffff ? 0x7fffffff : (int)left) < 0) continue;
    if (polls[1].revents && !listen_to(running)) polls[1].fd = -1;
    if (polls[0].revents) return 0;
  }
}

static int hook_failed(const struct hook* hook, struct running* running, const char* how,
                       struct failure* failure) {
  char why[320];
  running->text[running->used] = '\0';
  running->text[strcspn(running->text, "\n")] = '\0';
  snprintf(why, sizeof why, "%s: %s%s%s", hook->path, how, *running->text ? ": " : "", running->text);
  return failed_as(failure, ECANCELED, "running a hook", "hook", why);
}

int hook_run(const struct hook* hook, const char* state, struct failure* failure) {
  struct running running = {.pid = -1, .pidfd = -1, .said = -1, .refused = -1};
  int status = 0, error = 0;
  char how[48];
  if (launch(hook, state, &running) != 0) return failed(failure, "running a hook", "clone3", hook->path);
  int late = wait_until(&running, hook->timeout_ms);
  while (waitpid(running.pid, &status, __WALL) < 0 && errno == EINTR) continue;
  ssize_t refused = read(running.refused, &error, sizeof error);
  // Something it left running may hold the pipe open: only what is there now is read.
  struct pollfd rest = {.fd = running.said, .events = POLLIN};
  while (poll(&rest, 1, 0) > 0 && listen_to(&running)) continue;
  close(running.pidfd);
  close(running.said);
  close(running.refused);
  if (refused == (ssize_t)sizeof error)
    return failed_as(failure, error, "running a hook", "execve", hook->path);
  if (late)
    snprintf(how, sizeof how, "timed out after %llu ms", (unsigned long long)hook->timeout_ms);
  else if (WIFSIGNALED(status))
    snprintf(how, sizeof how, "killed by signal %d", WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0)
    snprintf(how, sizeof how, "exit status %d", WEXITSTATUS(status));
  else
    return 0;
  return hook_failed(hook, &running, how, failure);
}

/** The state of the plan with the pid in its place; NULL without memory. */
static char* state_with_pid(struct plan plan, unsigned which, int pid) {
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    if (record.op != PLAN_HOOK_STATE) continue;
    const char* text = plan_text(&record, which);
    size_t size = strlen(text) + 16;
    char* state = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (state == MAP_FAILED) return NULL;
    snprintf(state, size, "%s%d}", text, pid);
    return state;
  }
  return errno = ENODATA, NULL;
}

int hooks_run(struct plan plan, enum plan_hook_stage stage, int pid, struct failure* failure) {
  static const char step[] = "preparing a hook";
  struct plan all = plan;
  struct plan_record record;
  char* state = NULL;
  while (plan_find(&plan, PLAN_HOOK, &record) == 1) {
    if (plan_number(&record, 0) != (uint64_t)stage) continue;
    // prestart is older than the state "creating", and its hooks may still expect "created".
    if (!state) state = state_with_pid(all, stage == HOOK_START_CONTAINER || stage == HOOK_PRESTART, pid);
    if (!state) return failed(failure, step, "mmap", "");
    struct hook hook = {.path = plan_text(&record, 1),
                        .args = plan_texts(&record.field[2]),
                        .env = plan_texts(&record.field[3]),
                        .timeout_ms = plan_number(&record, 4)};
    if (!hook.args || !hook.env) return failed(failure, step, "mmap", hook.path);
    if (hook_run(&hook, state, failure) != 0) return -1;
  }
  return 0;
}
