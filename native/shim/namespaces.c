#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sys.h"

#define ENTERED \
  (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME_)

static const char kJoining[] = "joining a namespace";

int namespaces_need_stem(struct plan plan, uint64_t made) {
  struct plan_record record;
  while (plan_find(&plan, PLAN_JOIN, &record) == 1) {
    uint64_t flag = plan_number(&record, 1);
    if (flag == CLONE_NEWUSER || flag == CLONE_NEWPID) return 1;
    if (made & CLONE_NEWUSER) return 1;
  }
  return 0;
}

static int join(const struct plan_record* record, struct failure* failure) {
  const char* path = plan_text(record, 0);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, kJoining, "open", path);
  int outcome = setns(fd, (int)plan_number(record, 1));
  if (outcome != 0) failed(failure, kJoining, "setns", path);
  close(fd);
  return outcome;
}

int namespaces_join_some(struct plan plan, uint64_t flags, struct failure* failure) {
  struct plan_record record;
  while (plan_find(&plan, PLAN_JOIN, &record) == 1) {
    if (!(plan_number(&record, 1) & flags)) continue;
    if (join(&record, failure) != 0) return -1;
  }
  return 0;
}

int namespaces_join(struct plan plan, struct failure* failure) {
  if (namespaces_join_some(plan, ENTERED & ~CLONE_NEWNS, failure) != 0) return -1;
  return namespaces_join_some(plan, CLONE_NEWUSER, failure);
}

int namespaces_join_mount(struct plan plan, struct failure* failure) {
  return namespaces_join_some(plan, CLONE_NEWNS, failure);
}

static int offset_time(const char* lines, struct failure* failure) {
  static const char step[] = "making the time namespace";
  static const char offsets[] = "/proc/self/timens_offsets", own[] = "/proc/self/ns/time_for_children";
  if (unshare(CLONE_NEWTIME_) != 0) return failed(failure, step, "unshare", "");
  int fd = open(offsets, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, step, "open", offsets);
  ssize_t n = *lines ? write(fd, lines, strlen(lines)) : 0;
  int error = errno;
  close(fd);
  if (n < 0) return failed_as(failure, error, step, "write", offsets);
  // The new one is for children; joining it is how its maker gets in without one.
  fd = open(own, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, step, "open", own);
  if (setns(fd, CLONE_NEWTIME_) != 0) return failed(failure, step, "setns", own);
  close(fd);
  return 0;
}

int namespaces_offset_time(struct plan plan, struct failure* failure) {
  struct plan_record record;
  if (plan_find(&plan, PLAN_TIME_OFFSETS, &record) != 1) return 0;
  return offset_time(plan_text(&record, 0), failure);
}

static pid_t pid_of(int pidfd) {
  char path[48], text[512];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n <= 0) return errno = EIO, -1;
  text[n] = '\0';
  const char* line = strstr(text, "\nPid:");
  pid_t pid = line ? (pid_t)strtol(line + 5, NULL, 10) : -1;
  return pid > 0 ? pid : (errno = ESRCH, -1);
}

/** 1 = it has another user namespace than we, 0 = the same, which cannot be joined again. */
static int has_own_user_namespace(int pidfd, struct failure* failure) {
  static const char step[] = "joining the container";
  char path[48];
  struct stat ours, theirs;
  pid_t pid = pid_of(pidfd);
  if (pid < 0) return failed(failure, step, "open", "/proc/self/fdinfo");
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  // Should the process have ended and its number be another's by now, setns by the pidfd says so.
  if (stat(path, &theirs) != 0) return failed_as(failure, ESRCH, step, "stat", path);
  if (stat("/proc/self/ns/user", &ours) != 0) return failed(failure, step, "stat", "/proc/self/ns/user");
  return ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev;
}

int namespaces_root(int pidfd, struct failure* failure) {
  char path[48];
  pid_t pid = pid_of(pidfd);
  if (pid < 0) return failed(failure, "joining the container", "open", "/proc/self/fdinfo");
  snprintf(path, sizeof path, "/proc/%d/root", pid);
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 ? failed(failure, "joining the container", "open", path) : fd;
}

int namespaces_enter(int pidfd, struct plan plan, struct failure* failure) {
  static const char step[] = "joining the container";
  int own_user = has_own_user_namespace(pidfd, failure);
  if (own_user < 0) return -1;
  if (own_user && limits_raise(plan, failure) != 0) return -1;
  if (setns(pidfd, ENTERED & ~CLONE_NEWCGROUP) != 0) return failed(failure, step, "setns", "");
  return own_user;
}

int namespaces_enter_last(int pidfd, int own_user, struct failure* failure) {
  static const char step[] = "joining the container";
  if (setns(pidfd, CLONE_NEWCGROUP) != 0) return failed(failure, step, "setns", "cgroup");
  if (own_user && setns(pidfd, CLONE_NEWUSER) != 0) return failed(failure, step, "setns", "user");
  return 0;
}

int limits_raise(struct plan plan, struct failure* failure) {
  struct plan_record record;
  while (plan_find(&plan, PLAN_RLIMIT, &record) == 1) {
    struct rlimit limit;
    int resource = (int)plan_number(&record, 0);
    if (getrlimit(resource, &limit) == 0 && plan_number(&record, 2) <= limit.rlim_max) continue;
    limit.rlim_max = plan_number(&record, 2);
    if (setrlimit(resource, &limit) != 0)
      return failed(failure, "setting a resource limit", "setrlimit", plan_text(&record, 3));
  }
  return 0;
}
