// The last steps of a process: system call filter, exec, and the reaper that may stay behind.
#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "program.h"
#include "sys.h"

#define SECCOMP_SET_MODE_FILTER_ 1

/** After it only what the filter allows: capset where privileges may still be gained, then execve. */
static int install_filter(const struct program* p, struct failure* failure) {
  static const char step[] = "installing the seccomp filter";
  if (p->filter.length == 0) return 0;
  if (!p->no_new_privs) {
    uint64_t admin = 1ull << CAP_SYS_ADMIN;
    if (set_capabilities(p, admin, admin, failure) != 0) return -1;
  }
  struct sock_fprog filter = {
      .len = (unsigned short)(p->filter.length / sizeof(struct sock_filter)),
      .filter = (struct sock_filter*)(void*)p->filter.at,
  };
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER_, p->filter_flags, &filter) != 0)
    return failed(failure, step, "seccomp", "");
  return p->no_new_privs ? 0 : set_capabilities(p, 0, 0, failure);
}

/**
 * Waits for the command and for every orphan of the pid namespace, hands signals on, and ends as the command does. Nothing of the host can be had from it: its descriptors are closed, and its
 * memory is not dumpable.
 */
static _Noreturn void reap(pid_t command) {
  sigset_t all;
  // Not sigfillset, which leaves out three that the C library keeps for itself.
  memset(&all, 0xff, sizeof all);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(uint64_t));
  prctl(PR_SET_NAME, "covey-init", 0, 0, 0);
  for (;;) {
    siginfo_t info;
    int number = sigwaitinfo(&all, &info);
    if (number < 0) continue;
    if (number != SIGCHLD) {
      // The kernel's own come from the terminal, which has sent them to the command too.
      if (info.si_code != SI_KERNEL) kill(command, number);
      continue;
    }
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;) {
      if (pid == command) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
  }
}

/** The command becomes a process group of its own, which the terminal, if there is one, is given to. */
static void lead_group(void) {
  setpgid(0, 0);
  if (isatty(0)) tcsetpgrp(0, getpid());
}

int program_run(struct program* p, int door, struct failure* failure) {
  char* empty[] = {NULL};
  // Becoming the user may have undone it; exec gives it back to the command.
  if (p->reaper && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
    return failed(failure, "starting the command", "prctl", "PR_SET_DUMPABLE");
  if (install_filter(p, failure) != 0) return -1;
  if (p->reaper) {
    pid_t command = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (command < 0) return failed(failure, "starting the command", "clone", "");
    if (command > 0) {
      if (sys_close_range(3, ~0u, 0) != 0) close(door);
      reap(command);
    }
    lead_group();
  }
  reset_signals();
  execve(p->file, p->args, p->env ? p->env : empty);
  return failed(failure, "running the command", "execve", p->file);
}

void reset_signals(void) {
  // The addon spawned us with every signal at its default; the shim only blocks.
  sigset_t none;
  sigemptyset(&none);
  signal(SIGPIPE, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
}
