#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "copyup.h"
#include "overlay.h"
#include "sources.h"
#include "sys.h"
#include "target.h"

/** What the shim has made for us: the next in the plan's order. */
static int take(struct tree* tree, int* mounted, struct failure* failure) {
  *mounted = tree->taken = outside_next(&tree->outside);
  return *mounted < 0 ? failed(failure, "taking a mount from the shim", "plan", "") : 0;
}

static int step_overlay(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  if (plan_number(record, 7)) return take(tree, &tree->detached, failure);
  return overlay_make(record, -1, &tree->detached, failure);
}

static int step_root_bind(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  if (plan_number(record, 1)) return take(tree, &tree->detached, failure);
  tree->detached = source_root(record, failure);
  return tree->detached < 0 ? -1 : 0;
}

static int step_root_at(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "attaching the root file system";
  const char* at = plan_text(record, 0);
  if (tree->detached >= 0) {
    int place = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0) return failed(failure, step, "open", at);
    if (sys_move_mount(tree->detached, place) != 0) return failed(failure, step, "move_mount", at);
    close(place);
    close(tree->detached);
    tree->detached = -1;
  }
  tree->root = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return tree->root < 0 ? failed(failure, step, "open", at) : 0;
}

static int attach_at(const struct tree* tree, int mounted, const char* target, int folder, uint64_t resolve) {
  int place = open_target(tree->root, target, folder, resolve);
  if (place < 0) return -1;
  int outcome = sys_move_mount(mounted, place);
  int error = errno;
  close(place);
  errno = error;
  return outcome;
}

/**
 * The descriptor of what is mounted at the target in the end, or -1. The kernel lists mounts by the time of their making,
 * and what the shim made is older than its turn: where the list is to have the plan's order, a copy takes its place.
 */
static int attach(struct tree* tree, int mounted, const char* target, int folder, uint64_t resolve) {
  int is_older = tree->in_order && mounted == tree->taken;
  tree->taken = -1;
  if (attach_at(tree, mounted, target, folder, resolve) != 0) return -1;
  if (!is_older || !folder) return mounted;
  int copy = sys_open_tree(mounted, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_ | AT_RECURSIVE_ | O_CLOEXEC);
  // What cannot be copied, such as an unbindable mount, stays where it is in the list.
  if (copy < 0) return mounted;
  if (fchdir(mounted) != 0 || umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) return -1;
  close(mounted);
  return attach_at(tree, copy, target, folder, resolve) == 0 ? copy : -1;
}

/** Fills a new tmpfs with what lies at its target already, if anything does. */
static int copy_target(const struct tree* tree, const struct plan_record* record, int mounted,
                       struct failure* failure) {
  const char* target = plan_text(record, 2);
  int from = beneath(tree->root, target, O_RDONLY | O_DIRECTORY, 0);
  if (from < 0) return errno == ENOENT ? 0 : failed(failure, "copying into a tmpfs", "openat2", target);
  int outcome = copy_up(from, mounted, &record->field[4], failure);
  close(from);
  return outcome;
}

static int step_mount(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "mounting a file system";
  const char *type = plan_text(record, 0), *target = plan_text(record, 2);
  int mounted = -1;
  if (!(plan_number(record, 6) & MOUNT_OUTSIDE))
    mounted = source_file_system(record, failure);
  else if (take(tree, &mounted, failure) != 0)
    return -1;
  if (mounted < 0) return -1;
  if (plan_number(record, 6) & MOUNT_COPY_UP && copy_target(tree, record, mounted, failure) != 0) return -1;
  // Only tmpfs may be asked for at a path that an image made a link; the kernel's own views never
  // (CVE-2019-19921).
  uint64_t resolve = strcmp(type, "tmpfs") == 0 && strcmp(target, "/dev") != 0 ? 0 : RESOLVE_NO_SYMLINKS_;
  mounted = attach(tree, mounted, target, 1, resolve);
  if (mounted < 0) return failed(failure, step, "move_mount", target);
  if (set_propagation(mounted, plan_number(record, 5)) != 0)
    return failed(failure, step, "mount_setattr", target);
  if (strcmp(target, "/dev") == 0 && plan_number(record, 6) & MOUNT_OUTSIDE) tree->has_devices = 1;
  if (strcmp(type, "proc") == 0 && tree->proc < 0)
    tree->proc = mounted;
  else
    close(mounted);
  return 0;
}

static int step_bind(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "binding a path of the host";
  const char* target = plan_text(record, 1);
  struct stat st;
  int mounted = -1;
  if (!(plan_number(record, 4) & BIND_OUTSIDE))
    mounted = source_bind(record, -1, failure);
  else if (take(tree, &mounted, failure) != 0)
    return -1;
  if (mounted < 0) return -1;
  if (fstat(mounted, &st) != 0) return failed(failure, step, "fstat", plan_text(record, 0));
  mounted = attach(tree, mounted, target, S_ISDIR(st.st_mode), 0);
  if (mounted < 0) return failed(failure, step, "move_mount", target);
  close(mounted);
  return 0;
}

static int step_node(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "making a device node";
  const char* path = plan_text(record, 0);
  mode_t mode = (mode_t)plan_number(record, 1);
  // In a user namespace nobody can; the shim has made it.
  if (tree->has_devices) return 0;
  int parent = folder_above(tree->root, path);
  if (parent < 0) return failed(failure, step, "openat2", path);
  dev_t device = makedev((unsigned)plan_number(record, 2), (unsigned)plan_number(record, 3));
  const char* name = last_part(path);
  mode_t before = umask(0);
  if (mknodat(parent, name, mode, device) != 0) return failed(failure, step, "mknodat", path);
  umask(before);
  uid_t uid = (uid_t)plan_number(record, 4);
  gid_t gid = (gid_t)plan_number(record, 5);
  if ((uid || gid) && fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return failed(failure, step, "fchownat", path);
  }
  return 0;
}

static int step_link(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  const char* path = plan_text(record, 1);
  int parent = folder_above(tree->root, path);
  if (parent < 0 || (symlinkat(plan_text(record, 0), parent, last_part(path)) != 0 && errno != EEXIST)) {
    return failed(failure, "making a link", "symlinkat", path);
  }
  return 0;
}

/** Our own /proc, by descriptor: what lies at that path may be anything by now (CVE-2025-52881). */
static int proc_of(struct tree* tree) {
  struct statfs fs;
  if (tree->proc < 0) {
    int context = sys_fsopen("proc");
    if (context < 0 || sys_fsconfig(context, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0) return -1;
    tree->proc = sys_fsmount(context, 0);
    close(context);
  }
  if (tree->proc < 0 || fstatfs(tree->proc, &fs) != 0) return -1;
  return fs.f_type == PROC_SUPER_MAGIC ? tree->proc : (errno = EPERM, -1);
}

static int step_sysctl(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "setting a sysctl";
  char path[PATH_MAX];
  const char* value = plan_text(record, 1);
  if (snprintf(path, sizeof path, "sys/%s", plan_text(record, 0)) >= (int)sizeof path) {
    return failed_as(failure, ENAMETOOLONG, step, "open", plan_text(record, 0));
  }
  int proc = proc_of(tree);
  if (proc < 0) return failed(failure, step, "fsmount", "proc");
  // Nothing that is mounted over a part of it is followed either.
  struct open_how_ how = {
      .flags = O_WRONLY | O_CLOEXEC,
      .resolve = RESOLVE_BENEATH_ | RESOLVE_NO_XDEV_ | RESOLVE_NO_SYMLINKS_ | RESOLVE_NO_MAGICLINKS_};
  int fd = sys_openat2(proc, path, &how);
  if (fd < 0) return failed(failure, step, "openat2", path);
  if (write(fd, value, strlen(value)) < 0) return failed(failure, step, "write", path);
  close(fd);
  return 0;
}

/** An unattached copy of what hides a path: /dev/null over a file, an empty read-only tmpfs over a folder. */
static int mask_for(struct tree* tree, int folder) {
  int* source = folder ? &tree->mask_folder : &tree->mask_file;
  if (*source >= 0) return sys_open_tree(*source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_ | O_CLOEXEC);
  if (folder) {
    int fs = sys_fsopen("tmpfs");
    if (fs < 0 || sys_fsconfig(fs, FSCONFIG_SET_STRING_, "mode", "0555") != 0) return -1;
    if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0) return -1;
    int made =
        sys_fsmount(fs, MOUNT_ATTR_RDONLY_ | MOUNT_ATTR_NOSUID_ | MOUNT_ATTR_NODEV_ | MOUNT_ATTR_NOEXEC_);
    close(fs);
    *source = made;
    return made < 0 ? -1 : dup(made);
  }
  // The host's own node, checked: a /dev/null in an image may be anything (CVE-2025-31133).
  int null = open("/dev/null", O_PATH | O_CLOEXEC);
  struct stat st;
  if (null < 0 || fstat(null, &st) != 0) return -1;
  if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) return errno = ENODEV, -1;
  *source = null;
  return sys_open_tree(null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_ | O_CLOEXEC);
}

static int step_mask(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "masking a path";
  const char* path = plan_text(record, 0);
  int place = beneath(tree->root, path, O_PATH, 0);
  if (place < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : failed(failure, step, "openat2", path);
  struct stat st;
  if (fstat(place, &st) != 0) return failed(failure, step, "fstat", path);
  int mask = mask_for(tree, S_ISDIR(st.st_mode));
  if (mask < 0) return failed(failure, step, "open_tree", path);
  if (sys_move_mount(mask, place) != 0) return failed(failure, step, "move_mount", path);
  close(mask);
  close(place);
  return 0;
}

static int step_readonly(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "making a path read-only";
  const char* path = plan_text(record, 0);
  struct mount_attributes a = {.set = MOUNT_ATTR_RDONLY_};
  int place = beneath(tree->root, path, O_PATH, 0);
  if (place < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : failed(failure, step, "openat2", path);
  int copy = sys_open_tree(place, "", AT_EMPTY_PATH | OPEN_TREE_CLONE_ | AT_RECURSIVE_ | O_CLOEXEC);
  if (copy < 0) return failed(failure, step, "open_tree", path);
  if (sys_mount_setattr(copy, "", AT_EMPTY_PATH | AT_RECURSIVE_, &a) != 0)
    return failed(failure, step, "mount_setattr", path);
  if (sys_move_mount(copy, place) != 0) return failed(failure, step, "move_mount", path);
  close(copy);
  close(place);
  return 0;
}

static int step_remount(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "changing a mount";
  const char* path = plan_text(record, 0);
  struct mount_attributes top = {.set = plan_number(record, 1), .clear = plan_number(record, 2)};
  struct mount_attributes below = {.set = plan_number(record, 3), .clear = plan_number(record, 4)};
  int place = beneath(tree->root, path, O_PATH, 0);
  if (place < 0) return failed(failure, step, "openat2", path);
  if ((below.set || below.clear) && sys_mount_setattr(place, "", AT_EMPTY_PATH | AT_RECURSIVE_, &below) != 0)
    return failed(failure, step, "mount_setattr", path);
  if ((top.set || top.clear) && sys_mount_setattr(place, "", AT_EMPTY_PATH, &top) != 0)
    return failed(failure, step, "mount_setattr", path);
  close(place);
  return 0;
}

static int step_root_readonly(struct tree* tree, struct failure* failure) {
  struct mount_attributes a = {.set = MOUNT_ATTR_RDONLY_};
  if (sys_mount_setattr(tree->root, "", AT_EMPTY_PATH, &a) == 0) return 0;
  return failed(failure, "making the root file system read-only", "mount_setattr", "/");
}

static int step_pivot(const struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "entering the root file system";
  if (fchdir(tree->root) != 0) return failed(failure, step, "fchdir", "/");
  if (plan_number(record, 1)) {
    if (chroot(".") != 0) return failed(failure, step, "chroot", ".");
    return set_propagation(tree->root, plan_number(record, 0)) == 0
               ? 0
               : failed(failure, step, "mount_setattr", "/");
  }
  if (syscall(SYS_pivot_root, ".", ".") != 0) return failed(failure, step, "pivot_root", ".");
  // The old root lies over the new one now; detaching it leaves only the container's tree. Source:
  // pivot_root(2).
  if (umount2(".", MNT_DETACH) != 0) return failed(failure, step, "umount2", ".");
  if (chdir("/") != 0) return failed(failure, step, "chdir", "/");
  // Not before: a root that is shared, or a child of one, cannot be pivoted to.
  if (set_propagation(tree->root, plan_number(record, 0)) != 0)
    return failed(failure, step, "mount_setattr", "/");
  return 0;
}

int tree_step(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  if (record->op >= PLAN_SYSCTL) forget_folder();
  switch (record->op) {
    case PLAN_OVERLAY:
      return step_overlay(tree, record, failure);
    case PLAN_ROOT_BIND:
      return step_root_bind(tree, record, failure);
    case PLAN_ROOT_AT:
      return step_root_at(tree, record, failure);
    case PLAN_MOUNT:
      return step_mount(tree, record, failure);
    case PLAN_BIND:
      return step_bind(tree, record, failure);
    case PLAN_NODE:
      return step_node(tree, record, failure);
    case PLAN_LINK:
      return step_link(tree, record, failure);
    case PLAN_SYSCTL:
      return step_sysctl(tree, record, failure);
    case PLAN_MASK:
      return step_mask(tree, record, failure);
    case PLAN_READONLY:
      return step_readonly(tree, record, failure);
    case PLAN_REMOUNT:
      return step_remount(tree, record, failure);
    case PLAN_ROOT_READONLY:
      return step_root_readonly(tree, failure);
    case PLAN_PIVOT:
      return step_pivot(tree, record, failure);
    default:
      return failed_as(failure, ENOSYS, "reading the plan", "plan", "unknown operation");
  }
}
