#include "attributes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/vfs.h>

#include "sys.h"

#define IOPRIO_WHO_PROCESS_ 1
#define PROC_SUPER_MAGIC_ 0x9fa0

/** Source: sched_setattr(2), the first size of the structure. */
struct scheduling {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};

static int set_scheduler(const struct plan_record* record, struct failure* failure) {
  struct scheduling wanted = {
      .size = sizeof wanted,
      .policy = (uint32_t)plan_number(record, 0),
      .flags = plan_number(record, 1),
      .nice = (int32_t)plan_number(record, 2),
      .priority = (uint32_t)plan_number(record, 3),
      .runtime = plan_number(record, 4),
      .deadline = plan_number(record, 5),
      .period = plan_number(record, 6),
  };
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == 0) return 0;
  return failed(failure, "setting the scheduler", "sched_setattr", "");
}

int attribute_affinity(const struct plan_field* mask, struct failure* failure) {
  if (syscall(SYS_sched_setaffinity, 0, (size_t)mask->length, mask->at) == 0) return 0;
  return failed(failure, "binding to the CPUs", "sched_setaffinity", "");
}

int attribute_oom_score(const struct plan_record* record, struct failure* failure) {
  static const char path[] = "/proc/self/oom_score_adj";
  char text[24];
  int length = snprintf(text, sizeof text, "%lld", (long long)plan_number(record, 0));
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, (size_t)length) < 0)
    return failed(failure, "setting the OOM score", "write", path);
  close(fd);
  return 0;
}

int attribute_label(int proc, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "setting the security label";
  char path[64];
  const char *module = plan_text(record, 0), *label = plan_text(record, 1);
  snprintf(path, sizeof path, "thread-self/attr/%s%sexec", module, *module ? "/" : "");
  // Older kernels have no folder of AppArmor's own.
  int fd = openat(proc, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT && *module)
    fd = openat(proc, "thread-self/attr/exec", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return failed(failure, step, "openat", path);
  struct statfs fs;
  // What is written must reach the kernel, not a file that somebody has put in its place.
  if (fstatfs(fd, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC_)
    return failed_as(failure, EPERM, step, "fstatfs", path);
  ssize_t n = write(fd, label, strlen(label));
  if (n < 0) failed(failure, step, "write", label);
  close(fd);
  return n < 0 ? -1 : 0;
}

int attribute_step(const struct plan_record* record, struct failure* failure) {
  switch (record->op) {
    case PLAN_SCHEDULER:
      return set_scheduler(record, failure);
    case PLAN_IO_PRIORITY:
      if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS_, 0, (int)plan_number(record, 0)) == 0) return 0;
      return failed(failure, "setting the I/O priority", "ioprio_set", "");
    case PLAN_PERSONALITY:
      if (personality(plan_number(record, 0)) >= 0) return 0;
      return failed(failure, "setting the personality", "personality", "");
    case PLAN_AFFINITY:
      return attribute_affinity(&record->field[0], failure);
    default:
      return failed_as(failure, ENOSYS, "reading the plan", "plan", "unknown operation");
  }
}
