#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "sys.h"

// Source: linux/magic.h.
#define DEVPTS_SUPER_MAGIC_ 0x1cd1
#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif
#define DESCRIPTORS_MAX 2

static int beneath(int root, const char* path, uint64_t flags, uint64_t resolve) {
  struct open_how_ how = {
      .flags = flags | O_CLOEXEC,
      .resolve = RESOLVE_IN_ROOT_ | RESOLVE_NO_MAGICLINKS_ | RESOLVE_NO_SYMLINKS_ | resolve};
  return sys_openat2(root, path, &how);
}

static int open_master(int root, struct failure* failure) {
  static const char step[] = "opening a terminal";
  struct statfs fs;
  struct stat st;
  int folder = beneath(root, "dev/pts", O_PATH | O_DIRECTORY, 0);
  if (folder < 0) return failed(failure, step, "openat2", "dev/pts");
  if (fstatfs(folder, &fs) != 0) return failed(failure, step, "fstatfs", "dev/pts");
  if ((unsigned long)fs.f_type != DEVPTS_SUPER_MAGIC_)
    return failed_as(failure, ENODEV, step, "fstatfs", "dev/pts");
  int master = beneath(folder, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, RESOLVE_NO_XDEV_);
  if (master < 0) return failed(failure, step, "openat2", "dev/pts/ptmx");
  close(folder);
  if (fstat(master, &st) != 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
    return failed_as(failure, ENODEV, step, "fstat", "dev/pts/ptmx");
  return master;
}

int terminal_open(int root, struct terminal* terminal, struct failure* failure) {
  static const char step[] = "opening a terminal";
  int unlocked = 0;
  terminal->master = open_master(root, failure);
  if (terminal->master < 0) return -1;
  if (ioctl(terminal->master, TIOCSPTLCK, &unlocked) != 0)
    return failed(failure, step, "ioctl", "TIOCSPTLCK");
  terminal->peer = ioctl(terminal->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  return terminal->peer < 0 ? failed(failure, step, "ioctl", "TIOCGPTPEER") : 0;
}

int terminal_console(int root, const struct terminal* terminal, struct failure* failure) {
  static const char step[] = "placing the console";
  static const char path[] = "dev/console";
  int folder = beneath(root, "dev", O_PATH | O_DIRECTORY, 0);
  if (folder < 0) return failed(failure, step, "openat2", "dev");
  int made = openat(folder, "console", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (made < 0 && errno != EEXIST) return failed(failure, step, "openat", path);
  if (made >= 0) close(made);
  int place = beneath(folder, "console", O_PATH, RESOLVE_NO_XDEV_);
  if (place < 0) return failed(failure, step, "openat2", path);
  int peer = sys_open_tree(terminal->peer, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_ | O_CLOEXEC);
  if (peer < 0) return failed(failure, step, "open_tree", path);
  if (sys_move_mount(peer, place) != 0) return failed(failure, step, "move_mount", path);
  close(peer);
  close(place);
  close(folder);
  return 0;
}

int terminal_enter(const struct terminal* terminal, uid_t uid, struct failure* failure) {
  static const char step[] = "taking the terminal";
  // The group stays what devpts gives: write(1) of other users goes through it.
  if (fchown(terminal->peer, uid, (gid_t)-1) != 0) return failed(failure, step, "fchown", "");
  if (ioctl(terminal->peer, TIOCSCTTY, 0) != 0) return failed(failure, step, "ioctl", "TIOCSCTTY");
  for (int fd = 0; fd < 3; fd++) {
    if (dup2(terminal->peer, fd) < 0) return failed(failure, step, "dup2", "");
  }
  return 0;
}

int terminal_resize(int master, uint64_t rows, uint64_t columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  if (rows == 0 || columns == 0) return 0;
  if (rows > 0xffff || columns > 0xffff) return errno = ERANGE, -1;
  return ioctl(master, TIOCSWINSZ, &size);
}

int send_descriptors(int socket, const void* message, size_t length, const int* descriptors, unsigned count) {
  char control[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))] = {0};
  struct iovec iov = {.iov_base = (void*)message, .iov_len = length};
  struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
  if (count > DESCRIPTORS_MAX) return errno = E2BIG, -1;
  if (count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
  }
  return sendmsg(socket, &header, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

ssize_t receive_descriptors(int socket, void* message, size_t length, int descriptors[2]) {
  char control[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
  struct iovec iov = {.iov_base = message, .iov_len = length};
  struct msghdr header = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n;
  descriptors[0] = descriptors[1] = -1;
  do n = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return -1;
  struct cmsghdr* rights = CMSG_FIRSTHDR(&header);
  if (rights && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS)
    memcpy(descriptors, CMSG_DATA(rights), rights->cmsg_len - CMSG_LEN(0));
  return n;
}
