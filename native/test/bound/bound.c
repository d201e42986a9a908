// The bare-kernel lower bound of a container's start -> exit: the same namespaces, mounts and cgroups as a default
// container, then exec and wait. No config, no log, no record, no errors told, no second process.
//
//   bare-bound RUNS LAYER SCRATCH CGROUP COMMAND ARGS…     prints one duration in microseconds a line
//
//   bare-bound time COMMAND ARGS…                          the same number for spawning any program and waiting for it
//
// CGROUP is a path below every v1 hierarchy under /sys/fs/cgroup, or "-" for none.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char* const kHierarchies[] = {"cpu",     "cpuacct", "cpuset", "memory",
                                           "devices", "freezer", "blkio",  "pids"};
#define HIERARCHIES (sizeof kHierarchies / sizeof *kHierarchies)

static _Noreturn void die(const char* what) {
  perror(what);
  _exit(99);
}
static void must(int outcome, const char* what) {
  if (outcome < 0) die(what);
}
static void put(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  must(fd, path);
  must((int)write(fd, text, strlen(text)), path);
  close(fd);
}
static void hierarchy_path(char* out, size_t size, unsigned i, const char* cgroup, const char* file) {
  snprintf(out, size, "/sys/fs/cgroup/%s%s/%s", kHierarchies[i], cgroup, file);
}

static void mount_at(const char* type, const char* target, unsigned long flags, const char* options) {
  if (mkdir(target, 0755) != 0 && errno != EEXIST) die(target);
  must(mount(type, target, type, flags, options), target);
}

static void devices(void) {
  static const struct {
    const char* path;
    unsigned major, minor;
  } nodes[] = {{"dev/null", 1, 3},   {"dev/zero", 1, 5},    {"dev/full", 1, 7},
               {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
  static const char* const links[][2] = {{"/proc/self/fd", "dev/fd"},
                                         {"/proc/self/fd/0", "dev/stdin"},
                                         {"/proc/self/fd/1", "dev/stdout"},
                                         {"/proc/self/fd/2", "dev/stderr"},
                                         {"pts/ptmx", "dev/ptmx"}};
  for (unsigned i = 0; i < 6; i++)
    must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
  for (unsigned i = 0; i < 5; i++) must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void hide(void) {
  static const char* const files[] = {"proc/interrupts",    "proc/kcore",      "proc/keys",
                                      "proc/latency_stats", "proc/timer_list", "proc/timer_stats",
                                      "proc/sched_debug"};
  static const char* const folders[] = {"proc/acpi", "proc/asound", "proc/scsi", "sys/firmware",
                                        "sys/devices/virtual/powercap"};
  static const char* const closed[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
  for (unsigned i = 0; i < 7; i++) mount("/dev/null", files[i], NULL, MS_BIND, NULL);
  for (unsigned i = 0; i < 5; i++) mount("tmpfs", folders[i], "tmpfs", MS_RDONLY, NULL);
  for (unsigned i = 0; i < 5; i++) {
    if (mount(closed[i], closed[i], NULL, MS_BIND | MS_REC, NULL) != 0) continue;
    must(mount(NULL, closed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
               NULL),
         closed[i]);
  }
}

static void child(const char* layer, const char* scratch, const char* cgroup, char** command) {
  const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  char text[4096];
  if (*cgroup == '/') {
    for (unsigned i = 0; i < HIERARCHIES; i++) {
      hierarchy_path(text, sizeof text, i, cgroup, "tasks");
      put(text, "0");
    }
  }
  must(unshare(CLONE_NEWCGROUP), "unshare");
  must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
  must(chdir(scratch), scratch);
  snprintf(text, sizeof text, "lowerdir=%s,upperdir=upper,workdir=work,volatile", layer);
  must(mount("overlay", "upper", "overlay", 0, text), "overlay");
  must(chdir("upper"), "upper");
  mount_at("proc", "proc", quiet, NULL);
  mount_at("tmpfs", "dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
  mount_at("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  mount_at("sysfs", "sys", quiet | MS_RDONLY, NULL);
  if (*cgroup == '/') {
    mount_at("tmpfs", "sys/fs/cgroup", quiet, "mode=755,size=64k");
    for (unsigned i = 0; i < HIERARCHIES; i++) {
      char target[64];
      hierarchy_path(text, sizeof text, i, cgroup, "");
      snprintf(target, sizeof target, "sys/fs/cgroup/%s", kHierarchies[i]);
      must(mkdir(target, 0755), target);
      must(mount(text, target, NULL, MS_BIND, NULL), target);
      must(mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | quiet, NULL), target);
    }
  }
  mount_at("mqueue", "dev/mqueue", quiet, NULL);
  mount_at("tmpfs", "dev/shm", quiet, "mode=1777,size=65536k");
  devices();
  hide();
  must(sethostname("bound", 5), "sethostname");
  must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount2");
  must(chdir("/"), "chdir");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  execv(command[0], command);
  die("execv");
}

static double one(const char* layer, const char* scratch, const char* cgroup, char** command) {
  struct timespec from, to;
  char upper[4096], work[4096], path[4096];
  int status;
  clock_gettime(CLOCK_MONOTONIC, &from);
  snprintf(upper, sizeof upper, "%s/upper", scratch);
  snprintf(work, sizeof work, "%s/work", scratch);
  must(mkdir(scratch, 0700), scratch);
  must(mkdir(upper, 0755), upper);
  must(mkdir(work, 0700), work);
  for (unsigned i = 0; *cgroup == '/' && i < HIERARCHIES; i++) {
    hierarchy_path(path, sizeof path, i, cgroup, "");
    must(mkdir(path, 0755), path);
  }
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } args = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
            .exit_signal = SIGCHLD};
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  must(pid, "clone3");
  if (pid == 0) child(layer, scratch, cgroup, command);
  must(waitpid(pid, &status, 0), "waitpid");
  clock_gettime(CLOCK_MONOTONIC, &to);
  if (status != 0) fprintf(stderr, "bare-bound: status %d\n", status), exit(1);
  for (unsigned i = 0; *cgroup == '/' && i < HIERARCHIES; i++) {
    hierarchy_path(path, sizeof path, i, cgroup, "");
    rmdir(path);
  }
  return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static int time_command(char** command) {
  struct timespec from, to;
  char* none[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
  pid_t pid;
  int status;
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (posix_spawnp(&pid, command[0], NULL, NULL, command, none) != 0) die(command[0]);
  must(waitpid(pid, &status, 0), "waitpid");
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("%.1f\n", (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char** argv) {
  if (argc > 2 && strcmp(argv[1], "time") == 0) return time_command(argv + 2);
  if (argc < 6) return 64;
  for (int i = 0; i < atoi(argv[1]); i++) {
    char scratch[4096];
    snprintf(scratch, sizeof scratch, "%s/b%d-%d", argv[3], getpid(), i);
    printf("%.1f\n", one(argv[2], scratch, argv[4], argv + 5));
  }
  return 0;
}
