// Verbs that try what a container must not be able to do.
//
//   call NUMBER ARG...     one system call, its arguments as numbers; exit errno
//   call32 NUMBER ARG      the same by the 32-bit gate of x86, with its numbers; 71 where there is none
//   setcap PATH MASK       gives a file the capabilities of the mask, in force at once
//   attributes             scheduling, I/O priority, personality, CPUs, umask: one "key=value" a line
//   catch                  prints every signal it gets by number until SIGTERM
//   zombies COUNT          leaves COUNT orphans that end at once, then prints how many children of pid 1 are dead
#include "attack.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int call(int argc, char** argv) {
  unsigned long args[6] = {0};
  for (int i = 0; i < 6 && i + 3 < argc; i++) args[i] = strtoul(argv[i + 3], NULL, 0);
  long outcome = syscall(strtol(argv[2], NULL, 0), args[0], args[1], args[2], args[3], args[4], args[5]);
  return outcome < 0 ? errno : 0;
}

static int call32(long number, long first) {
#ifdef __x86_64__
  long outcome;
  __asm__ volatile("int $0x80"
                   : "=a"(outcome)
                   : "a"(number), "b"(first), "c"(0), "d"(0), "S"(0), "D"(0)
                   : "memory");
  return outcome < 0 ? (int)-outcome : 0;
#else
  (void)number, (void)first;
  return 71;
#endif
}

/** Source: linux/capability.h, struct vfs_cap_data. */
static int set_file_capabilities(const char* path, unsigned long long mask) {
  unsigned data[5] = {0x02000001, (unsigned)mask, 0, (unsigned)(mask >> 32), 0};
  return setxattr(path, "security.capability", data, sizeof data, 0) == 0 ? 0 : errno;
}

static int attributes(void) {
  cpu_set_t cpus;
  mode_t mask = umask(0);
  printf("policy=%d\nnice=%d\n", (int)syscall(SYS_sched_getscheduler, 0), getpriority(PRIO_PROCESS, 0));
  printf("ioprio=%ld\npersonality=%d\numask=%o\n", syscall(SYS_ioprio_get, 1, 0), personality(0xffffffff),
         mask);
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) printf("cpus=%d\n", CPU_COUNT(&cpus));
  return 0;
}

static int catch_signals(void) {
  sigset_t all;
  int number;
  // Not sigfillset: the C library keeps three for itself.
  memset(&all, 0xff, sizeof all);
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, NULL, 8);
  printf("ready pid=%d\n", getpid());
  fflush(stdout);
  while (sigwait(&all, &number) == 0) {
    printf("got %d\n", number);
    fflush(stdout);
    if (number == SIGTERM) return 0;
  }
  return 1;
}

/** Processes of the namespace that are dead and not reaped. */
static int count_zombies(void) {
  char path[300], line[512];
  int zombies = 0;
  DIR* proc = opendir("/proc");
  for (struct dirent* entry; proc && (entry = readdir(proc));) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
    FILE* file = fopen(path, "r");
    if (!file) continue;
    if (fgets(line, sizeof line, file)) {
      const char* end = strrchr(line, ')');
      if (end && end[2] == 'Z') zombies++;
    }
    fclose(file);
  }
  if (proc) closedir(proc);
  return zombies;
}

static int orphans(int count) {
  for (int i = 0; i < count; i++) {
    pid_t parent = fork();
    if (parent == 0) {
      if (fork() == 0) {
        // Ends only when it is an orphan: then pid 1 has to reap it.
        while (getppid() != 1) sched_yield();
        _exit(0);
      }
      _exit(0);
    }
    while (waitpid(parent, NULL, 0) < 0 && errno == EINTR) continue;
  }
  int zombies = count_zombies();
  // They may be between their end and pid 1's turn.
  for (int tries = 0; zombies > 0 && tries < 200; tries++) {
    usleep(5000);
    zombies = count_zombies();
  }
  printf("zombies=%d\n", zombies);
  return 0;
}

int attack(int argc, char** argv) {
  const char* verb = argc > 1 ? argv[1] : "";
  if (!strcmp(verb, "call") && argc > 2) return call(argc, argv);
  if (!strcmp(verb, "call32") && argc > 3) return call32(strtol(argv[2], NULL, 0), strtol(argv[3], NULL, 0));
  if (!strcmp(verb, "setcap") && argc > 3) return set_file_capabilities(argv[2], strtoull(argv[3], NULL, 16));
  if (!strcmp(verb, "attributes")) return attributes();
  if (!strcmp(verb, "catch")) return catch_signals();
  if (!strcmp(verb, "zombies") && argc > 2) return orphans(atoi(argv[2]));
  return -1;
}
