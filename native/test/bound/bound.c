// The bare-kernel lower bound of a container's start -> exit: the same namespaces, mounts, cgroups, device rules, sysctls
// loopback and system call filter as a default container's, then exec and wait. No config, no log, no record, no errors
// told, no second process.
//
//   bare-bound RUNS AT_ONCE LAYER SCRATCH CGROUP FILTER STATUS COMMAND ARGS…
//
//   bare-bound filter PID   writes the filter of that process to stdout, as FILTER wants it
//
//   bare-bound each AT_ONCE STATUS COMMAND ARGS…   the same for any program, once for each line of stdin, which stands in
//                                                  for {} in the arguments
//
// Both print one duration in microseconds a line, then "all" and that of everything. Any other exit status ends them
// with 1. CGROUP is a path below every v1 hierarchy under /sys/fs/cgroup, or "-" for none. FILTER is a file, or "-".
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char* const kHierarchies[] = {"cpu",     "cpuacct", "cpuset", "memory",
                                           "devices", "freezer", "blkio",  "pids"};
#define HIERARCHIES (sizeof kHierarchies / sizeof *kHierarchies)
#define DEVICES 4
#define FILTER_MAX 4096
#define GET_FILTER 0x420c  // PTRACE_SECCOMP_GET_FILTER

static struct sock_filter filter[FILTER_MAX];
static struct sock_fprog program = {.filter = filter};

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

static void loopback(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  must(fd, "socket");
  must(ioctl(fd, SIOCSIFFLAGS, &request), "lo");
  close(fd);
}

static void device_rules(const char* cgroup) {
  static const char* const allowed[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm",  "c 1:5 rwm",
                                        "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",  "c 5:0 rwm",
                                        "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"};
  char path[4096];
  hierarchy_path(path, sizeof path, DEVICES, cgroup, "devices.deny");
  put(path, "a");
  hierarchy_path(path, sizeof path, DEVICES, cgroup, "devices.allow");
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  must(fd, path);
  for (unsigned i = 0; i < sizeof allowed / sizeof *allowed; i++)
    must((int)write(fd, allowed[i], strlen(allowed[i])), path);
  close(fd);
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
  loopback();
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
  put("proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  put("proc/sys/net/ipv4/ping_group_range", "0 2147483647");
  hide();
  must(sethostname("bound", 5), "sethostname");
  must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount2");
  must(chdir("/"), "chdir");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (program.len > 0) must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
  execv(command[0], command);
  die("execv");
}

static double microseconds(struct timespec from, struct timespec to) {
  return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static void check(int status, int expected) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == expected) return;
  fprintf(stderr, "bare-bound: wait status %d instead of exit status %d\n", status, expected);
  exit(1);
}

static double one(const char* layer, const char* scratch, const char* cgroup, int expected, char** command) {
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
  if (*cgroup == '/') device_rules(cgroup);
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } args = {.flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
            .exit_signal = SIGCHLD};
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  must(pid, "clone3");
  if (pid == 0) child(layer, scratch, cgroup, command);
  must(waitpid(pid, &status, 0), "waitpid");
  clock_gettime(CLOCK_MONOTONIC, &to);
  check(status, expected);
  for (unsigned i = 0; *cgroup == '/' && i < HIERARCHIES; i++) {
    hierarchy_path(path, sizeof path, i, cgroup, "");
    rmdir(path);
  }
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
  if (errno != 0) die(args[0]);
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

static void read_filter(const char* path) {
  if (*path != '/') return;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd, path);
  ssize_t n = read(fd, filter, sizeof filter);
  must((int)n, path);
  program.len = (unsigned short)((size_t)n / sizeof *filter);
  close(fd);
}

/** The kernel's own copy of what `pid` runs under. */
static void write_filter(pid_t pid) {
  int status;
  must((int)ptrace(PTRACE_ATTACH, pid, NULL, NULL), "ptrace");
  must(waitpid(pid, &status, __WALL), "waitpid");
  long count = ptrace((int)GET_FILTER, pid, NULL, filter);
  must((int)count, "PTRACE_SECCOMP_GET_FILTER");
  ptrace(PTRACE_DETACH, pid, NULL, NULL);
  must((int)write(1, filter, (size_t)count * sizeof *filter), "write");
}

static void bound(int runs, int at_once, char** argv) {
  read_filter(argv[3]);
  for (int worker = 0; worker < at_once; worker++) {
    pid_t pid = at_once == 1 ? 0 : fork();
    must(pid, "fork");
    if (pid != 0) continue;
    for (int i = worker; i < runs; i += at_once) {
      char scratch[4096], cgroup[4096];
      snprintf(scratch, sizeof scratch, "%s/b%d-%d", argv[1], getpid(), i);
      snprintf(cgroup, sizeof cgroup, *argv[2] == '/' ? "%s-%d-%d" : "%s", argv[2], getpid(), i);
      dprintf(1, "%.1f\n", one(argv[0], scratch, cgroup, atoi(argv[4]), argv + 5));
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
  else if (argc > 8)
    bound(atoi(argv[1]), atoi(argv[2]), argv + 3);
  else
    return 64;
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("all %.1f\n", microseconds(from, to));
  return 0;
}
