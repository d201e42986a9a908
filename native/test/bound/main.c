// The bare-kernel lower bound of a container's start -> exit (container.c), and a driver for its contenders.
//
//   bare-bound RUNS AT_ONCE LAYER SCRATCH CGROUP FILTER BASE STATUS COMMAND ARGS…
//
//   bare-bound filter PID   writes the filter of that process to stdout, as FILTER wants it
//
//   bare-bound each AT_ONCE STATUS COMMAND ARGS…   the same for any program, once for each line of stdin, which stands in
//                                                  for {} in the arguments
//
// Both print one duration in microseconds a line, then "all" and that of everything. Any other exit status ends them
// with 1. CGROUP is a path below every v1 hierarchy under /sys/fs/cgroup, or "-" for none. FILTER is a file, or "-".
// BASE is the first of the host's 65,536 ids that are every container's.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bound.h"

#define GET_FILTER 0x420c  // PTRACE_SECCOMP_GET_FILTER

static double microseconds(struct timespec from, struct timespec to) {
  return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static void check(int status, int expected) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == expected) return;
  fprintf(stderr, "bare-bound: wait status %d instead of exit status %d\n", status, expected);
  exit(1);
}

static double one(const struct container* c, int expected) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  int status = container_run(c);
  clock_gettime(CLOCK_MONOTONIC, &to);
  check(status, expected);
  container_leave(c);
  return microseconds(from, to);
}

/** Starts one run with the line in place of {}; the program's output goes to stderr, ours is numbers. */
static pid_t spawn_for(char** command, const char* line) {
  static char words[64][4096];
  char* args[65];
  char* environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int count = 0;
  for (; command[count] && count < 64; count++) {
    const char* mark = strstr(command[count], "{}");
    args[count] = command[count];
    if (!mark) continue;
    snprintf(words[count], sizeof *words, "%.*s%s%s", (int)(mark - command[count]), command[count], line,
             mark + 2);
    args[count] = words[count];
  }
  if (count == 0) exit(64);
  args[count] = NULL;
  if (!args[0]) exit(64);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, 2, 1);
  // The lines on ours are for us.
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  errno = posix_spawnp(&pid, args[0], &actions, NULL, args, environment);
  if (errno != 0) must(-1, args[0]);
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

struct run {
  pid_t pid;
  struct timespec from;
};

static void finish_one(struct run* runs, int at_once, int expected) {
  struct timespec to;
  int status;
  pid_t pid = wait(&status);
  must(pid, "wait");
  clock_gettime(CLOCK_MONOTONIC, &to);
  check(status, expected);
  for (int i = 0; i < at_once; i++) {
    if (runs[i].pid != pid) continue;
    printf("%.1f\n", microseconds(runs[i].from, to));
    runs[i].pid = 0;
  }
}

static void each(int at_once, int expected, char** command) {
  struct run runs[64] = {{0}};
  char line[4096];
  int under_way = 0;
  if (at_once < 1 || at_once > 64) exit(64);
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    if (under_way == at_once) finish_one(runs, at_once, expected), under_way--;
    struct run* free = runs;
    while (free->pid != 0) free++;
    clock_gettime(CLOCK_MONOTONIC, &free->from);
    free->pid = spawn_for(command, line);
    under_way++;
  }
  for (; under_way > 0; under_way--) finish_one(runs, at_once, expected);
}

static void read_filter(const char* path, struct filter* filter) {
  filter->program.filter = filter->code;
  filter->program.len = 0;
  if (*path != '/') return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd, path);
  ssize_t n = read(fd, filter->code, sizeof filter->code);
  must((int)n, path);
  filter->program.len = (unsigned short)((size_t)n / sizeof *filter->code);
  close(fd);
}

/** The kernel's own copy of what `pid` runs under. */
static void write_filter(pid_t pid) {
  static struct sock_filter code[FILTER_MAX];
  int status;
  must((int)ptrace(PTRACE_ATTACH, pid, NULL, NULL), "ptrace");
  must(waitpid(pid, &status, __WALL), "waitpid");
  long count = ptrace((int)GET_FILTER, pid, NULL, code);
  must((int)count, "PTRACE_SECCOMP_GET_FILTER");
  ptrace(PTRACE_DETACH, pid, NULL, NULL);
  must((int)write(1, code, (size_t)count * sizeof *code), "write");
}

/** @param argv  LAYER SCRATCH CGROUP FILTER BASE STATUS COMMAND ARGS… */
static void bound(int runs, int at_once, char** argv) {
  static struct filter filter;
  read_filter(argv[3], &filter);
  for (int worker = 0; worker < at_once; worker++) {
    pid_t pid = at_once == 1 ? 0 : fork();
    must(pid, "fork");
    if (pid != 0) continue;
    for (int i = worker; i < runs; i += at_once) {
      char scratch[4096], cgroup[4096];
      snprintf(scratch, sizeof scratch, "%s/b%d-%d", argv[1], getpid(), i);
      snprintf(cgroup, sizeof cgroup, *argv[2] == '/' ? "%s-%d-%d" : "%s", argv[2], getpid(), i);
      const struct container c = {.layer = argv[0],
                                  .scratch = scratch,
                                  .cgroup = cgroup,
                                  .base = (unsigned)strtoul(argv[4], NULL, 10),
                                  .filter = &filter,
                                  .command = argv + 6};
      dprintf(1, "%.1f\n", one(&c, atoi(argv[5])));
    }
    if (at_once > 1) _exit(0);
  }
  for (int status; at_once > 1 && wait(&status) > 0;) check(status, 0);
}

int main(int argc, char** argv) {
  struct timespec from, to;
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (argc > 4 && strcmp(argv[1], "each") == 0)
    each(atoi(argv[2]), atoi(argv[3]), argv + 4);
  else if (argc == 3 && strcmp(argv[1], "filter") == 0)
    return write_filter(atoi(argv[2])), 0;
  else if (argc > 9)
    bound(atoi(argv[1]), atoi(argv[2]), argv + 3);
  else
    return 64;
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("all %.1f\n", microseconds(from, to));
  return 0;
}
