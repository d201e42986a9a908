#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices.h"
#include "sys.h"

// A fork bomb may outrun one pass; the freezer stops it, so a few are enough.
#define KILL_ROUNDS_MAX 100
#define UNFROZEN_ROUNDS 2
// Deeper ones are the agent's when it removes the container.
#define DEPTH_MAX 8

static int write_file(const char* path, const char* value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, value, strlen(value));
  int error = errno;
  close(fd);
  errno = error;
  return n < 0 ? -1 : 0;
}

/** The file written to last, still open: a container's device rules are a dozen writes to one. */
struct kept_file {
  int fd;
  const char* path;
};

static int write_kept(struct kept_file* kept, const char* path, const char* value) {
  if (kept->fd < 0 || strcmp(kept->path, path) != 0) {
    if (kept->fd >= 0) close(kept->fd);
    kept->path = path;
    kept->fd = open(path, O_WRONLY | O_CLOEXEC);
  }
  return kept->fd < 0 || write(kept->fd, value, strlen(value)) < 0 ? -1 : 0;
}

/** Whether the file holds that text now. Some kernels take a limit and keep none. */
static int holds(const char* path, const char* value) {
  char text[64];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n < 0) return 0;
  text[n] = '\0';
  // Limits are kept in whole pages, rounded down.
  unsigned long long kept = strtoull(text, NULL, 10), asked = strtoull(value, NULL, 10);
  return kept <= asked && asked - kept < 65536;
}

static int set_limit(const struct plan_record* record, struct kept_file* kept, struct failure* failure) {
  static const char step[] = "setting a limit";
  const char* path = plan_text(record, 0);
  uint64_t mode = plan_number(record, 2);
  int written = write_kept(kept, path, plan_text(record, 1));
  if (written != 0 && errno == ENOENT && record->count > 4) {
    path = plan_text(record, 3);
    written = write_file(path, plan_text(record, 4));
  }
  if (written != 0 && mode == SETTING_OPTIONAL && (errno == ENOENT || errno == EOPNOTSUPP)) return 0;
  if (written != 0) return failed(failure, step, "write", path);
  if (mode == SETTING_VERIFIED && !holds(path, plan_text(record, 1)))
    return failed_as(failure, EOPNOTSUPP, step, "write", path);
  return 0;
}

int cgroup_make(struct plan plan, struct failure* failure) {
  struct kept_file kept = {.fd = -1};
  struct plan_record record;
  int outcome = 0;
  while (outcome == 0 && plan_next(&plan, &record) == 1) {
    const char* path = plan_text(&record, 0);
    if (record.op == PLAN_CGROUP_DIR) {
      if (mkdir(path, 0755) != 0 && errno != EEXIST)
        outcome = failed(failure, "making a cgroup", "mkdir", path);
    } else if (record.op == PLAN_CGROUP_WRITE) {
      outcome = set_limit(&record, &kept, failure);
    }
  }
  if (kept.fd >= 0) close(kept.fd);
  return outcome;
}

void cgroup_unmake(struct plan plan) {
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    if (record.op == PLAN_CGROUP_DIR) rmdir(plan_text(&record, 0));
  }
}

int cgroup_enter(struct plan plan, struct failure* failure) {
  struct plan_record record;
  while (plan_find(&plan, PLAN_CGROUP_TASKS, &record) == 1) {
    // A single-threaded process moving itself is 100 times cheaper than being moved through cgroup.procs.
    if (write_file(plan_text(&record, 0), "0") != 0) {
      return failed(failure, "entering a cgroup", "write", plan_text(&record, 0));
    }
  }
  return 0;
}

int cgroup_unified(struct plan plan, struct failure* failure) {
  struct plan_record record;
  int folder = -1;
  while (plan_next(&plan, &record) == 1) {
    if (record.op == PLAN_CGROUP_UNIFIED) {
      folder = open(plan_text(&record, 0), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (folder < 0) return failed(failure, "opening the cgroup", "open", plan_text(&record, 0));
    } else if (record.op == PLAN_CGROUP_DEVICES && folder >= 0) {
      if (devices_attach(folder, &record.field[0], failure) != 0) return -1;
    }
  }
  return folder;
}

unsigned long long oom_kills(int file) {
  char text[1024];
  ssize_t n = file < 0 ? -1 : pread(file, text, sizeof text - 1, 0);
  if (n <= 0) return 0;
  text[n] = '\0';
  for (const char* line = text; line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoull(line + 9, NULL, 10);
  }
  return 0;
}

static int write_at(int folder, const char* name, const char* value) {
  int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, value, strlen(value));
  close(fd);
  return n < 0 ? -1 : 0;
}

static int kill_tree(int folder, int depth);

/** The same below: a command run in the container, or the container itself, may have made cgroups there. */
static int kill_below(int folder, int depth) {
  int count = 0;
  int listed = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* entries = listed < 0 ? NULL : fdopendir(listed);
  if (!entries) return 0;
  for (struct dirent* entry; (entry = readdir(entries));) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    int below = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (below < 0) continue;
    count += kill_tree(below, depth + 1);
    close(below);
  }
  closedir(entries);
  return count;
}

/** Sends SIGKILL to each process listed; gives how many there were. */
static int kill_listed(int folder) {
  char text[4096];
  int count = 0;
  int fd = openat(folder, "cgroup.procs", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  size_t kept = 0;
  for (;;) {
    ssize_t n = read(fd, text + kept, sizeof text - 1 - kept);
    if (n <= 0) break;
    text[kept + (size_t)n] = '\0';
    char* at = text;
    for (char* line; (line = strchr(at, '\n')); at = line + 1) {
      pid_t pid = (pid_t)strtol(at, NULL, 10);
      if (pid > 1) {
        kill(pid, SIGKILL);
        count++;
      }
    }
    kept = strlen(at);
    memmove(text, at, kept);
  }
  close(fd);
  return count;
}

static int kill_tree(int folder, int depth) {
  int count = kill_listed(folder);
  return depth < DEPTH_MAX ? count + kill_below(folder, depth) : count;
}

void cgroup_kill(int folder) {
  if (write_at(folder, "cgroup.kill", "1") == 0) return;
  for (int round = 0; round < KILL_ROUNDS_MAX; round++) {
    // Freezing patches the running kernel on every processor; what dies at once need not be frozen.
    if (round >= UNFROZEN_ROUNDS) write_at(folder, "freezer.state", "FROZEN");
    int count = kill_tree(folder, 0);
    write_at(folder, "freezer.state", "THAWED");
    if (count == 0) return;
    usleep(1000);
  }
}
