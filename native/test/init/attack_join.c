// What a process in a container tries against a command that joins it.
//
//   stalk NAME             waits for a process of that name and takes hold of it in every way there is: "way=errno" a line
//   overwrite PATH         opens it for writing and writes: "way=errno" a line
//   hold PATH              keeps PATH open, prints "ready", and overwrites what it holds once it has got SIGTERM
#include "attack_join.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "limits.h"

static int tell(const char* way, long outcome) {
  printf("%s=%d\n", way, outcome < 0 ? errno : 0);
  return outcome < 0;
}

static int is_named(pid_t pid, const char* name) {
  char path[64], comm[32] = "";
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t n = read(fd, comm, sizeof comm - 1);
  close(fd);
  return n > 1 && strlen(name) == (size_t)n - 1 && strncmp(comm, name, (size_t)n - 1) == 0;
}

static pid_t find_named(const char* name) {
  for (;;) {
    DIR* proc = opendir("/proc");
    pid_t found = 0;
    for (struct dirent* entry; proc && !found && (entry = readdir(proc));) {
      pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
      if (pid > 0 && is_named(pid, name)) found = pid;
    }
    if (proc) closedir(proc);
    if (found) return found;
    sched_yield();
  }
}

static void try_file(pid_t pid, const char* name, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, flags);
  tell(name, fd);
  if (fd >= 0) close(fd);
}

static int stalk(const char* name) {
  char byte = 0;
  pid_t pid = find_named(name);
  // An address that the process has too: it runs this program or the shim, both of which begin here.
  struct iovec here = {.iov_base = &byte, .iov_len = 1}, there = {.iov_base = (void*)0x400000, .iov_len = 1};
  tell("attach", ptrace(PTRACE_SEIZE, pid, 0, 0));
  tell("vm", process_vm_readv(pid, &here, 1, &there, 1, 0));
  tell("getfd", syscall(438 /* pidfd_getfd */, syscall(SYS_pidfd_open, pid, 0), 0, 0));
  try_file(pid, "mem", O_RDWR);
  try_file(pid, "environ", O_RDONLY);
  try_file(pid, "exe", O_RDONLY);
  try_file(pid, "maps", O_RDONLY);
  try_file(pid, "fd/0", O_RDONLY);
  try_file(pid, "cwd", O_PATH);
  try_file(pid, "root", O_PATH);
  printf("was=%d\n", is_named(pid, name));
  return 0;
}

static int overwrite(const char* path) {
  int fd = open(path, O_WRONLY);
  if (tell("open", fd)) return 0;
  tell("write", write(fd, "#!", 2));
  tell("truncate", ftruncate(fd, 0));
  return 0;
}

static int hold(const char* path) {
  char held[64];
  int fd = open(path, O_PATH);
  if (fd < 0) return errno;
  sleep_until_term();
  snprintf(held, sizeof held, "/proc/self/fd/%d", fd);
  return overwrite(held);
}

int attack_join(int argc, char** argv) {
  const char* verb = argc > 1 ? argv[1] : "";
  if (!strcmp(verb, "stalk") && argc > 2) return stalk(argv[2]);
  if (!strcmp(verb, "overwrite") && argc > 2) return overwrite(argv[2]);
  if (!strcmp(verb, "hold") && argc > 2) return hold(argv[2]);
  return -1;
}
