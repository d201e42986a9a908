// System calls and constants that musl or older kernel headers lack, and small things every part needs.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

// Source: linux/mount.h.
#define OPEN_TREE_CLONE_ 1u
#define FSOPEN_CLOEXEC_ 1u
#define FSMOUNT_CLOEXEC_ 1u
#define FSCONFIG_SET_FLAG_ 0u
#define FSCONFIG_SET_STRING_ 1u
#define FSCONFIG_SET_FD_ 5u
#define FSCONFIG_CMD_CREATE_ 6u
#define MOVE_MOUNT_F_EMPTY_PATH_ 0x04u
#define MOVE_MOUNT_T_EMPTY_PATH_ 0x40u
#define MOUNT_ATTR_RDONLY_ 0x01u
#define MOUNT_ATTR_NOSUID_ 0x02u
#define MOUNT_ATTR_NODEV_ 0x04u
#define MOUNT_ATTR_NOEXEC_ 0x08u
#define MOUNT_ATTR_IDMAP_ 0x00100000u
#define AT_RECURSIVE_ 0x8000u

struct mount_attributes {
  uint64_t set;
  uint64_t clear;
  uint64_t propagation;
  uint64_t userns_fd;
};

// Source: linux/openat2.h.
#define RESOLVE_NO_XDEV_ 0x01u
#define RESOLVE_NO_MAGICLINKS_ 0x02u
#define RESOLVE_NO_SYMLINKS_ 0x04u
#define RESOLVE_BENEATH_ 0x08u
#define RESOLVE_IN_ROOT_ 0x10u

struct open_how_ {
  uint64_t flags;
  uint64_t mode;
  uint64_t resolve;
};

// Source: linux/sched.h.
#define CLONE_NEWTIME_ 0x00000080
#define CLONE_PIDFD_ 0x00001000ull
#define CLONE_INTO_CGROUP_ 0x200000000ull

struct clone_arguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
      cgroup;
};

static inline int sys_clone3(struct clone_arguments* a) { return (int)syscall(SYS_clone3, a, sizeof *a); }
/** A path with `..` is given up whenever anything is renamed or mounted anywhere meanwhile. Source: openat2(2), EAGAIN. */
static inline int sys_openat2(int at, const char* path, struct open_how_* how) {
  for (int tries = 0;; tries++) {
    int fd = (int)syscall(SYS_openat2, at, path, how, sizeof *how);
    if (fd >= 0 || errno != EAGAIN || tries == 1000) return fd;
  }
}
static inline int sys_open_tree(int at, const char* path, unsigned flags) {
  return (int)syscall(SYS_open_tree, at, path, flags);
}
static inline int sys_move_mount(int from, int to) {
  return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH_ | MOVE_MOUNT_T_EMPTY_PATH_);
}
static inline int sys_fsopen(const char* type) { return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC_); }
static inline int sys_fsconfig(int fs, unsigned command, const char* key, const char* value) {
  return (int)syscall(SYS_fsconfig, fs, command, key, value, 0);
}
static inline int sys_fsconfig_fd(int fs, const char* key, int fd) {
  return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_FD_, key, NULL, fd);
}
static inline int sys_fsmount(int fs, unsigned attributes) {
  return (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC_, attributes);
}
static inline int sys_mount_setattr(int at, const char* path, unsigned flags, struct mount_attributes* a) {
  return (int)syscall(SYS_mount_setattr, at, path, flags, a, sizeof *a);
}
static inline int sys_close_range(unsigned first, unsigned last, unsigned flags) {
  return (int)syscall(SYS_close_range, first, last, flags);
}
