// A container's first process for tests: tells from inside what the container is, or does one thing that a test needs.
//
//   report                 facts, one "key=value" a line
//   exit N | signal N      ends so
//   after MS CODE          exits so after that time
//   sleep                  until SIGTERM, then exit 0
//   stubborn               ignores SIGTERM for ever
//   lines COUNT BYTES      numbered lines to stdout, each padded to BYTES
//   later COUNT BYTES      as lines, once it has got SIGTERM
//   both COUNT             numbered lines to stdout and stderr in turn
//   paced COUNT PER_SECOND numbered lines at that rate; SIGTERM ends it with a line `end` and how many there were
//   text TEXT              writes TEXT without a newline
//   bytes HEX              writes these bytes and a newline
//   eat MIB                touches that much memory
//   fork COUNT             starts COUNT sleeping children, prints how many came to life, waits
//   tree                   starts a grandchild that outlives its parent, then sleeps
//   open PATH              exit 0 when it can be opened for writing, else errno
//   read PATH | stat PATH  prints it
//   mknod MAJOR MINOR      makes and opens a block device; exit errno
// More in limits.c and the files called attack.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"
#include "attack_exe.h"
#include "attack_join.h"
#include "attack_mounts.h"
#include "limits.h"

static void print_file(const char* path) {
  char text[65536];
  int fd = open(path, O_RDONLY);
  if (fd < 0) {
    printf("!%d\n", errno);
    return;
  }
  for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;) fwrite(text, 1, (size_t)n, stdout);
  close(fd);
}

static void print_link(const char* key, const char* path) {
  char to[PATH_MAX];
  ssize_t n = readlink(path, to, sizeof to - 1);
  printf("%s=%.*s\n", key, n < 0 ? 1 : (int)n, n < 0 ? "?" : to);
}

static void print_status(void) {
  char line[4096];
  FILE* status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status)) {
    static const char* const told[] = {"Cap", "NoNewPrivs", "Groups", "Seccomp:"};
    int is_told = 0;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
      is_told |= !strncmp(line, told[i], strlen(told[i]));
    if (!is_told) continue;
    char* colon = strchr(line, ':');
    char* value = colon + 1 + strspn(colon + 1, "\t ");
    printf("%.*s=%.*s\n", (int)(colon - line), line, (int)strcspn(value, "\n"), value);
  }
  if (status) fclose(status);
}

static int report(void) {
  static const char* const kinds[] = {"pid", "mnt", "uts", "ipc", "net", "cgroup", "user", "time"};
  char path[64], key[32], cwd[PATH_MAX];
  struct utsname names;
  struct rlimit files;
  uname(&names);
  getrlimit(RLIMIT_NOFILE, &files);
  printf("pid=%d\nppid=%d\nuid=%u\ngid=%u\nhostname=%s\ndomainname=%s\n", getpid(), getppid(), getuid(),
         getgid(), names.nodename, names.domainname);
  printf("cwd=%s\nnofile=%llu:%llu\n", getcwd(cwd, sizeof cwd), (unsigned long long)files.rlim_cur,
         (unsigned long long)files.rlim_max);
  mode_t mask = umask(0);
  printf("umask=%o\n", mask);
  for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
    snprintf(key, sizeof key, "ns.%s", kinds[i]);
    print_link(key, path);
  }
  for (int fd = 0; fd < 64; fd++) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(key, sizeof key, "fd.%d", fd);
    if (fcntl(fd, F_GETFD) >= 0) print_link(key, path);
  }
  print_status();
  return 0;
}

static int lines(int count, int bytes) {
  static char pad[65536];
  memset(pad, 'x', sizeof pad);
  for (int i = 0; i < count; i++) printf("%d %.*s\n", i, bytes, pad);
  return 0;
}

static int bytes(const char* hex) {
  for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2) putchar((int)byte);
  return putchar('\n') == EOF;
}

static int exit_after(int ms, int code) {
  struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
  printf("begun\n");
  fflush(stdout);
  while (nanosleep(&time, &time) != 0) continue;
  return code;
}

static int both(int count) {
  for (int i = 0; i < count; i++) dprintf(1 + i % 2, "%d\n", i);
  return 0;
}

static volatile sig_atomic_t ended;
static void end(int number) { ended = number; }

static int paced(int count, int per_second) {
  struct sigaction action = {.sa_handler = end, .sa_flags = SA_RESTART};
  struct timespec at;
  int i = 0;
  sigaction(SIGTERM, &action, NULL);
  clock_gettime(CLOCK_MONOTONIC, &at);
  for (; i != count && !ended; i++) {
    dprintf(1, "%d\n", i);
    at.tv_nsec += 1000000000 / (per_second > 0 ? per_second : 1);
    if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
  }
  if (ended) dprintf(1, "end %d\n", i);
  return 0;
}

int sleep_until_term(void) {
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  printf("ready\n");
  fflush(stdout);
  while (!ended) pause();
  return 0;
}

static int stubborn(void) {
  signal(SIGTERM, SIG_IGN);
  printf("ready\n");
  fflush(stdout);
  while (pause() < 0) continue;
  return 1;
}

static int eat(int mib) {
  for (int i = 0; i < mib; i++) {
    void* block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return 3;
    memset(block, i + 1, 1 << 20);
  }
  printf("ate %d\n", mib);
  return 0;
}

static int start_children(int count) {
  int alive = 0;
  for (int i = 0; i < count; i++) {
    pid_t pid = fork();
    if (pid == 0)
      for (;;) pause();
    if (pid > 0) alive++;
  }
  printf("alive=%d\n", alive);
  fflush(stdout);
  return sleep_until_term();
}

static int tree(void) {
  if (fork() == 0) {
    setsid();
    if (fork() == 0)
      for (;;) pause();
    _exit(0);
  }
  wait(NULL);
  printf("planted\n");
  fflush(stdout);
  while (pause() < 0) continue;
  return 1;
}

static int try_mknod(unsigned major, unsigned minor) {
  if (mknod("/tmp-device", S_IFBLK | 0600, makedev(major, minor)) != 0) return errno;
  return open("/tmp-device", O_RDONLY) < 0 ? errno : 0;
}

static int number_at(char** argv, int argc, int index, int fallback) {
  return index < argc ? atoi(argv[index]) : fallback;
}

int main(int argc, char** argv) {
  const char* verb = argc > 1 ? argv[1] : "report";
  int first = number_at(argv, argc, 2, 0), second = number_at(argv, argc, 3, 0);
  const char* text = argc > 2 ? argv[2] : "";
  struct stat st;
  if (!strcmp(verb, "report")) return report();
  if (!strcmp(verb, "exit")) return first;
  if (!strcmp(verb, "signal")) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    // A pid namespace's first process only dies of a signal of its own by a fault or from outside.
    volatile int* closed = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (first == SIGSEGV) *closed = 1;
    raise(first);
    return 0;
  }
  if (!strcmp(verb, "sleep")) return sleep_until_term();
  if (!strcmp(verb, "stubborn")) return stubborn();
  if (!strcmp(verb, "lines")) return lines(first, second);
  if (!strcmp(verb, "later")) return sleep_until_term(), lines(first, second);
  if (!strcmp(verb, "after")) return exit_after(first, second);
  if (!strcmp(verb, "both")) return both(first);
  if (!strcmp(verb, "paced")) return paced(first, second);
  if (!strcmp(verb, "text")) return dprintf(1, "%s", text) < 0;
  if (!strcmp(verb, "bytes")) return bytes(text);
  if (!strcmp(verb, "eat")) return eat(first);
  if (!strcmp(verb, "fork")) return start_children(first);
  if (!strcmp(verb, "tree")) return tree();
  if (!strcmp(verb, "open")) return open(text, O_WRONLY | O_CREAT, 0644) < 0 ? errno : 0;
  if (!strcmp(verb, "read")) return print_file(text), 0;
  if (!strcmp(verb, "mknod")) return try_mknod((unsigned)first, (unsigned)second);
  if (!strcmp(verb, "env")) {
    for (char** e = argv + argc + 1; *e; e++) printf("%s\n", *e);
    return 0;
  }
  if (!strcmp(verb, "stat")) {
    if (stat(text, &st) != 0) return errno;
    printf("mode=%o size=%lld uid=%u gid=%u rdev=%u:%u\n", st.st_mode, (long long)st.st_size, st.st_uid,
           st.st_gid, major(st.st_rdev), minor(st.st_rdev));
    return 0;
  }
  int code = attack(argc, argv);
  if (code < 0) code = limits_verb(argc, argv);
  if (code < 0) code = attack_mounts(argc, argv);
  if (code < 0) code = attack_exe(argc, argv);
  if (code < 0) code = attack_join(argc, argv);
  return code < 0 ? 64 : code;
}
