#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "sys.h"

// The kernel takes one page of map at a time.
#define MAP_BYTES_MAX 4096

static const char kMapping[] = "mapping the ids of the user namespace";

int userns_wanted(struct plan plan) {
  struct plan_record record;
  return plan_find(&plan, PLAN_ID_MAP, &record) == 1;
}

static int write_map(pid_t pid, const char* name, const char* lines, struct failure* failure) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, kMapping, "open", path);
  ssize_t n = write(fd, lines, strlen(lines));
  int error = errno;
  close(fd);
  return n < 0 ? failed_as(failure, error, kMapping, "write", path) : 0;
}

/** Compares three numbers a line, whatever the spaces: the kernel pads them. */
static int same_lines(const char* a, const char* b) {
  for (;;) {
    char *after_a, *after_b;
    unsigned long one = strtoul(a, &after_a, 10), other = strtoul(b, &after_b, 10);
    int ended_a = after_a == a, ended_b = after_b == b;
    if (ended_a || ended_b) return ended_a && ended_b;
    if (one != other) return 0;
    a = after_a;
    b = after_b;
  }
}

static int check_map(pid_t pid, const char* name, const char* lines, struct failure* failure) {
  char path[48], found[MAP_BYTES_MAX * 4];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, kMapping, "open", path);
  size_t used = 0;
  for (ssize_t n; used < sizeof found - 1 && (n = read(fd, found + used, sizeof found - 1 - used)) > 0;) {
    used += (size_t)n;
  }
  close(fd);
  found[used] = '\0';
  if (same_lines(found, lines)) return 0;
  return failed_as(failure, EINVAL, kMapping, "read", "the joined user namespace has other maps");
}

int userns_map(struct plan plan, pid_t pid, int made, struct failure* failure) {
  struct plan_record record;
  while (plan_find(&plan, PLAN_ID_MAP, &record) == 1) {
    const char *name = plan_text(&record, 0), *lines = plan_text(&record, 1);
    int outcome = made ? write_map(pid, name, lines, failure) : check_map(pid, name, lines, failure);
    if (outcome != 0) return -1;
  }
  return 0;
}

int userns_of(pid_t pid, struct failure* failure) {
  char path[48];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) failed(failure, kMapping, "open", path);
  return fd;
}

int userns_make(const char* uid_map, const char* gid_map, struct failure* failure) {
  struct clone_arguments args = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
  int pid = sys_clone3(&args), status;
  if (pid < 0) return failed(failure, kMapping, "clone3", "");
  if (pid == 0) {
    for (;;) pause();
  }
  int fd = -1;
  if (write_map(pid, "uid_map", uid_map, failure) == 0 && write_map(pid, "gid_map", gid_map, failure) == 0) {
    fd = userns_of(pid, failure);
  }
  kill(pid, SIGKILL);
  while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR) continue;
  return fd;
}

int idmap_mount(int mount, int userns, int recursive) {
  struct mount_attributes a = {.set = MOUNT_ATTR_IDMAP_, .userns_fd = (uint64_t)userns};
  return sys_mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE_ : 0), &a);
}

int userns_probe(const char* folder, struct failure* failure) {
  static const char step[] = "probing user namespaces";
  int userns = userns_make("0 100000 65536\n", "0 100000 65536\n", failure);
  if (userns < 0) return -1;
  int mount = sys_open_tree(AT_FDCWD, folder, OPEN_TREE_CLONE_ | O_CLOEXEC);
  if (mount < 0) return failed(failure, step, "open_tree", folder);
  return idmap_mount(mount, userns, 0) == 0 ? 0 : failed(failure, step, "mount_setattr", folder);
}
