// One container by the kernel alone: the same namespaces, mounts, cgroups, device rules, sysctls, loopback and system call
// filter as a default container's, then exec and wait. No config, no log, no record, no second process, no errors told
// but by ending.
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shim/sys.h"
#include "bound.h"

static const char* const kHierarchies[] = {"cpu",     "cpuacct", "cpuset", "memory",
                                           "devices", "freezer", "blkio",  "pids"};
#define HIERARCHIES (sizeof kHierarchies / sizeof *kHierarchies)
#define DEVICES 4

static _Noreturn void die(const char* what) {
  perror(what);
  _exit(99);
}
void must(int outcome, const char* what) {
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

/** Attaches a mount to a path below the current folder. */
static int attach(int mounted, const char* target) {
  return (int)syscall(SYS_move_mount, mounted, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH_);
}

static void mount_at(const char* type, const char* target, unsigned long flags, const char* options) {
  if (mkdir(target, 0755) != 0 && errno != EEXIST) die(target);
  must(mount(type, target, type, flags, options), target);
}

/** The container's /dev with its nodes, which only the host's root can make; attached to nothing yet. */
static int devices(unsigned base) {
  static const struct {
    const char* name;
    unsigned major, minor;
  } nodes[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
               {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  char owner[16];
  snprintf(owner, sizeof owner, "%u", base);
  int fs = sys_fsopen("tmpfs");
  must(fs, "fsopen");
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "mode", "755"), "fsconfig");
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "size", "65536k"), "fsconfig");
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "uid", owner), "fsconfig");
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "gid", owner), "fsconfig");
  must(sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL), "fsconfig");
  int mounted = sys_fsmount(fs, MOUNT_ATTR_NOSUID_);
  must(mounted, "fsmount");
  close(fs);
  for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++) {
    must(mknodat(mounted, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)),
         nodes[i].name);
    must(fchownat(mounted, nodes[i].name, base, base, 0), nodes[i].name);
  }
  return mounted;
}

/** The container's root, its layer with the ids of `userns`; attached to nothing yet. Closing `layer` takes a while. */
static int overlay(const struct container* c, int userns, int* mapped_layer) {
  char upper[4096], work[4096];
  struct mount_attributes mapped = {.set = MOUNT_ATTR_IDMAP_, .userns_fd = (uint64_t)userns};
  snprintf(upper, sizeof upper, "%s/upper", c->scratch);
  snprintf(work, sizeof work, "%s/work", c->scratch);
  int layer = sys_open_tree(AT_FDCWD, c->layer, OPEN_TREE_CLONE_ | O_CLOEXEC);
  must(layer, c->layer);
  must(sys_mount_setattr(layer, "", AT_EMPTY_PATH, &mapped), "mount_setattr");
  int fs = sys_fsopen("overlay");
  must(fs, "fsopen");
  // A kernel that takes no layers by descriptor, before 6.13, is spared the mapping.
  if (sys_fsconfig_fd(fs, "lowerdir+", layer) != 0)
    must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "lowerdir", c->layer), "fsconfig");
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "upperdir", upper), upper);
  must(sys_fsconfig(fs, FSCONFIG_SET_STRING_, "workdir", work), work);
  must(sys_fsconfig(fs, FSCONFIG_SET_FLAG_, "volatile", NULL), "volatile");
  must(sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL), "overlay");
  int mounted = sys_fsmount(fs, 0);
  must(mounted, "fsmount");
  close(fs);
  *mapped_layer = layer;
  return mounted;
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

static void links(void) {
  static const char* const names[][2] = {{"/proc/self/fd", "dev/fd"},
                                         {"/proc/self/fd/0", "dev/stdin"},
                                         {"/proc/self/fd/1", "dev/stdout"},
                                         {"/proc/self/fd/2", "dev/stderr"},
                                         {"pts/ptmx", "dev/ptmx"}};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    must(symlink(names[i][0], names[i][1]), names[i][1]);
}

static void mount_cgroups(const char* cgroup) {
  const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  char text[4096], target[64];
  mount_at("tmpfs", "sys/fs/cgroup", quiet, "mode=755,size=64k");
  for (unsigned i = 0; i < HIERARCHIES; i++) {
    hierarchy_path(text, sizeof text, i, cgroup, "");
    snprintf(target, sizeof target, "sys/fs/cgroup/%s", kHierarchies[i]);
    must(mkdir(target, 0755), target);
    must(mount(text, target, NULL, MS_BIND, NULL), target);
    must(mount(NULL, target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | quiet, NULL), target);
  }
}

static void as_the_host(const struct container* c) {
  char text[4096];
  if (*c->cgroup == '/') {
    for (unsigned i = 0; i < HIERARCHIES; i++) {
      hierarchy_path(text, sizeof text, i, c->cgroup, "tasks");
      put(text, "0");
    }
  }
  must(unshare(CLONE_NEWCGROUP), "unshare");
  must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "slave");
  loopback();
  must(chdir(c->scratch), c->scratch);
}

static _Noreturn void child(const struct container* c, int ready) {
  const unsigned long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  int made[2];
  as_the_host(c);
  if (read(ready, made, sizeof made) != sizeof made) die("read");
  must(attach(made[0], "upper"), "upper");
  must(chdir("upper"), "upper");
  must(setresgid(0, 0, 0), "setresgid");
  must(setresuid(0, 0, 0), "setresuid");
  mount_at("proc", "proc", quiet, NULL);
  must(attach(made[1], "dev"), "dev");
  mount_at("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  mount_at("sysfs", "sys", quiet | MS_RDONLY, NULL);
  if (*c->cgroup == '/') mount_cgroups(c->cgroup);
  mount_at("mqueue", "dev/mqueue", quiet, NULL);
  mount_at("tmpfs", "dev/shm", quiet, "mode=1777,size=65536k");
  links();
  put("proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  put("proc/sys/net/ipv4/ping_group_range", "0 65535");
  hide();
  must(sethostname("bound", 5), "sethostname");
  must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount2");
  must(chdir("/"), "chdir");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (c->filter->program.len > 0)
    must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &c->filter->program), "seccomp");
  execv(c->command[0], c->command);
  die("execv");
}

static void make_folders(const struct container* c) {
  char path[4096];
  must(mkdir(c->scratch, 0700), c->scratch);
  snprintf(path, sizeof path, "%s/upper", c->scratch);
  must(mkdir(path, 0755), path);
  must(chown(path, c->base, c->base), path);
  snprintf(path, sizeof path, "%s/work", c->scratch);
  must(mkdir(path, 0700), path);
  if (*c->cgroup != '/') return;
  for (unsigned i = 0; i < HIERARCHIES; i++) {
    hierarchy_path(path, sizeof path, i, c->cgroup, "");
    must(mkdir(path, 0755), path);
  }
  device_rules(c->cgroup);
}

static int map_ids(pid_t pid, unsigned base) {
  char path[48], map[48];
  snprintf(map, sizeof map, "0 %u 65536", base);
  snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
  put(path, map);
  snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
  put(path, map);
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  int userns = open(path, O_RDONLY | O_CLOEXEC);
  must(userns, path);
  return userns;
}

/** Of the last run. Closing a mount takes a while, and is no part of it. */
static int left_open[6];

int container_run(const struct container* c) {
  int ready[2], status, layer;
  make_folders(c);
  must(pipe2(ready, O_CLOEXEC), "pipe2");
  struct clone_arguments args = {.flags = CLONE_FILES | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS |
                                          CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
                                 .exit_signal = SIGCHLD};
  pid_t pid = sys_clone3(&args);
  must(pid, "clone3");
  if (pid == 0) child(c, ready[0]);
  int userns = map_ids(pid, c->base);
  const int made[] = {overlay(c, userns, &layer), devices(c->base)};
  if (write(ready[1], made, sizeof made) != sizeof made) die("write");
  must(waitpid(pid, &status, 0), "waitpid");
  const int open_ones[] = {made[0], made[1], ready[0], ready[1], userns, layer};
  memcpy(left_open, open_ones, sizeof left_open);
  return status;
}

void container_leave(const struct container* c) {
  char path[4096];
  for (unsigned i = 0; i < sizeof left_open / sizeof *left_open; i++) close(left_open[i]);
  for (unsigned i = 0; *c->cgroup == '/' && i < HIERARCHIES; i++) {
    hierarchy_path(path, sizeof path, i, c->cgroup, "");
    rmdir(path);
  }
}
