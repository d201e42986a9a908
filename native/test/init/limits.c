// Verbs that use up what a container may have, or try to get more.
//
//   burn MS                uses that much CPU time, says "burnt", then sleeps until SIGTERM
//   busy COUNT MS          COUNT processes run for that long; prints "cpu=MS wall=MS" of all of them
//   nursery MIB            a child touches that much memory; says what killed it, then sleeps until SIGTERM
//   fill PATH MIB          writes that much to a file; exit 0, or errno
//   project PATH ID        moves a file to that quota project; exit 0, or errno
//   huge COUNT MIB         maps so many huge pages of MIB each and touches them; exit 0, or errno
//   bomb ATTEMPTS          a fork bomb that stops after so many attempts, then sleeps until SIGTERM
//   direct PATH MIB        writes, then reads that much past the page cache; prints "write=MS read=MS"
//   pipes MIB | sockets MIB  fills buffers of the kernel's; prints "filled MIB"
//   dentries COUNT         asks for so many names that do not exist; prints "asked COUNT"
//   cgroup-mount CONTROLLER FILE VALUE  with the means of a container; exit 0 when the write worked, else errno
//   cgroup-own CONTROLLER FILE VALUE    the same in user, mount and cgroup namespaces of its own
//   device KIND MAJOR MINOR  makes a node (b or c) and opens it; exit errno
#include "limits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)

static long now_ms(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int burn(int ms) {
  // Mostly in user space, also where asking for the time is dear.
  while (now_ms(CLOCK_PROCESS_CPUTIME_ID) < ms) {
    for (volatile int i = 0; i < 1000000; i++) continue;
  }
  printf("burnt\n");
  return sleep_until_term();
}

static int busy(int count, int ms) {
  struct rusage used;
  long start = now_ms(CLOCK_MONOTONIC);
  for (int i = 0; i < count; i++) {
    if (fork() != 0) continue;
    while (now_ms(CLOCK_MONOTONIC) - start < ms) continue;
    _exit(0);
  }
  while (wait(NULL) > 0) continue;
  getrusage(RUSAGE_CHILDREN, &used);
  long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
             (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
  printf("cpu=%ld wall=%ld\n", cpu, now_ms(CLOCK_MONOTONIC) - start);
  return sleep_until_term();
}

static int nursery(int mib) {
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < mib; i++) memset(malloc(MIB), i + 1, MIB);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) return 3;
  printf("child killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  return sleep_until_term();
}

static int fill_file(const char* path, int mib) {
  static char block[MIB];
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  if (fd < 0) return errno;
  // What no longer fits as a whole is written in part first.
  for (long long left = (long long)mib * MIB; left > 0;) {
    ssize_t n = write(fd, block, left < MIB ? (size_t)left : MIB);
    if (n < 0) return errno;
    left -= n;
  }
  return fsync(fd) == 0 ? 0 : errno;
}

/** With the flag for what is made below gone, and the id changed. Source: FS_IOC_FSSETXATTR, ioctl_fssetxattr. */
static int move_project(const char* path, unsigned id) {
  struct fsxattr attributes;
  int fd = open(path, O_RDONLY);
  if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return errno;
  attributes.fsx_projid = id;
  attributes.fsx_xflags &= ~(unsigned)FS_XFLAG_PROJINHERIT;
  return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) == 0 ? 0 : errno;
}

static int huge(int count, int mib) {
  size_t size = (size_t)count * (size_t)mib * MIB;
  char* pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (pages == MAP_FAILED) return errno;
  memset(pages, 7, size);
  return 0;
}

/** Every process forks on until all of them together have tried often enough. */
static int bomb(long attempts) {
  struct {
    _Atomic long tried, born;
  }* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t first = getpid();
  while (shared->tried++ < attempts) {
    pid_t pid = fork();
    if (pid == 0) shared->born++;
  }
  if (getpid() != first)
    for (;;) pause();
  printf("born=%ld\n", shared->born);
  return sleep_until_term();
}

static int direct(const char* path, int mib) {
  void* block;
  int fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
  if (fd < 0 || posix_memalign(&block, 4096, MIB) != 0) return errno;
  memset(block, 7, MIB);
  long start = now_ms(CLOCK_MONOTONIC);
  for (int i = 0; i < mib; i++) {
    if (pwrite(fd, block, MIB, (off_t)i * MIB) != MIB) return errno;
  }
  long written = now_ms(CLOCK_MONOTONIC);
  for (int i = 0; i < mib; i++) {
    if (pread(fd, block, MIB, (off_t)i * MIB) != MIB) return errno;
  }
  printf("write=%ld read=%ld\n", written - start, now_ms(CLOCK_MONOTONIC) - written);
  return 0;
}

/** Fills what `make` makes, by its second end, until `mib` lie in the kernel or it gives no more. */
static int fill(int mib, int (*make)(int*)) {
  static char block[65536];
  long long filled = 0;
  int ends[2];
  while (filled < (long long)mib * MIB && make(ends) == 0) {
    long long before = filled;
    for (ssize_t n; (n = write(ends[1], block, sizeof block)) > 0;) filled += n;
    if (filled == before) break;
  }
  printf("filled %lld\n", filled / MIB);
  return sleep_until_term();
}

static int make_pipe(int* ends) { return pipe2(ends, O_NONBLOCK); }
static int make_sockets(int* ends) { return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends); }

static int dentries(int count) {
  char name[250];
  struct stat st;
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "/tmp/%0200d", i);
    if (stat(name, &st) == 0) return 1;
  }
  printf("asked %d\n", count);
  return sleep_until_term();
}

static int write_text(const char* path, const char* text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return errno;
  return write(fd, text, strlen(text)) < 0 ? errno : 0;
}

/** An unmounted v1 controller is given as "name=x"; "unified" means v2. */
static int cgroup_mount(const char* controller, const char* file, const char* value) {
  char path[256];
  int is_v2 = strcmp(controller, "unified") == 0;
  if (mkdir("/tmp/cgroup", 0755) != 0 && errno != EEXIST) return errno;
  if (mount("cgroup", "/tmp/cgroup", is_v2 ? "cgroup2" : "cgroup", 0, is_v2 ? NULL : controller) != 0)
    return errno;
  snprintf(path, sizeof path, "/tmp/cgroup/%s", file);
  return write_text(path, value);
}

static int cgroup_own(char** argv) {
  char map[64];
  uid_t uid = getuid();
  if (unshare(CLONE_NEWUSER) != 0) return errno;
  // As what it is outside, so that files that are its own outside are its own inside.
  snprintf(map, sizeof map, "0 %u 1", uid);
  int error = write_text("/proc/self/uid_map", map);
  if (error == 0 && unshare(CLONE_NEWNS | CLONE_NEWCGROUP) != 0) error = errno;
  return error ? error : cgroup_mount(argv[2], argv[3], argv[4]);
}

static int device(const char* kind, unsigned major, unsigned minor) {
  mode_t mode = (*kind == 'b' ? S_IFBLK : S_IFCHR) | 0600;
  if (mknod("/tmp/node", mode, makedev(major, minor)) != 0) return errno;
  return open("/tmp/node", O_RDONLY | O_NONBLOCK) < 0 ? errno : 0;
}

int limits_verb(int argc, char** argv) {
  const char* verb = argc > 1 ? argv[1] : "";
  int first = argc > 2 ? atoi(argv[2]) : 0, second = argc > 3 ? atoi(argv[3]) : 0;
  if (!strcmp(verb, "burn")) return burn(first);
  if (!strcmp(verb, "busy")) return busy(first, second);
  if (!strcmp(verb, "nursery")) return nursery(first);
  if (!strcmp(verb, "fill") && argc > 3) return fill_file(argv[2], second);
  if (!strcmp(verb, "project") && argc > 3) return move_project(argv[2], (unsigned)second);
  if (!strcmp(verb, "huge")) return huge(first, second);
  if (!strcmp(verb, "bomb")) return bomb(first);
  if (!strcmp(verb, "direct") && argc > 3) return direct(argv[2], second);
  if (!strcmp(verb, "pipes")) return fill(first, make_pipe);
  if (!strcmp(verb, "sockets")) return fill(first, make_sockets);
  if (!strcmp(verb, "dentries")) return dentries(first);
  if (!strcmp(verb, "cgroup-mount") && argc > 4) return cgroup_mount(argv[2], argv[3], argv[4]);
  if (!strcmp(verb, "cgroup-own") && argc > 4) return cgroup_own(argv);
  if (!strcmp(verb, "device") && argc > 4) return device(argv[2], (unsigned)second, (unsigned)atoi(argv[4]));
  return -1;
}
