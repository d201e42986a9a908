#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sys.h"

#define DIR_MODE 0755
#define FILE_MODE 0644
// mount(2) takes one page of options.
#define MOUNT_OPTIONS_MAX 4096

static int beneath(int root, const char* path, uint64_t flags, uint64_t resolve) {
  struct open_how_ how = {.flags = flags | O_CLOEXEC,
                          .resolve = RESOLVE_IN_ROOT_ | RESOLVE_NO_MAGICLINKS_ | resolve};
  while (*path == '/') path++;
  return sys_openat2(root, *path ? path : ".", &how);
}

/** Makes the folders of `path` that are missing, up to its last part when `all` is 0, each beneath the root.
 */
static int make_folders(int root, const char* path, int all, uint64_t resolve) {
  char prefix[PATH_MAX];
  size_t length = strlen(path);
  if (length >= sizeof prefix) return errno = ENAMETOOLONG, -1;
  int parent = beneath(root, "", O_PATH | O_DIRECTORY, 0);
  if (parent < 0) return -1;
  for (const char* at = path; *at;) {
    while (*at == '/') at++;
    size_t part = strcspn(at, "/");
    const char* after = at + part + strspn(at + part, "/");
    if (part == 0 || (*after == '\0' && !all)) break;
    char name[256];
    if (part >= sizeof name) return close(parent), errno = ENAMETOOLONG, -1;
    memcpy(name, at, part);
    name[part] = '\0';
    size_t so_far = (size_t)(at + part - path);
    memcpy(prefix, path, so_far);
    prefix[so_far] = '\0';
    int next = beneath(root, prefix, O_PATH | O_DIRECTORY, resolve);
    if (next < 0 && errno == ENOENT && strcmp(name, "..") != 0 && mkdirat(parent, name, DIR_MODE) == 0) {
      next = beneath(root, prefix, O_PATH | O_DIRECTORY, resolve);
    }
    int error = errno;
    close(parent);
    errno = error;
    if (next < 0) return -1;
    parent = next;
    at = after;
  }
  return parent;
}

static const char* last_part(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/** An O_PATH descriptor of the target, made as folder or empty file when it is missing. */
static int open_target(int root, const char* path, int folder, uint64_t resolve) {
  int fd = beneath(root, path, O_PATH, resolve);
  if (fd >= 0 || errno != ENOENT) return fd;
  int parent = make_folders(root, path, folder, resolve);
  if (parent < 0 || folder) return parent;
  int made = mknodat(parent, last_part(path), S_IFREG | FILE_MODE, 0);
  int error = errno;
  close(parent);
  if (made != 0) return errno = error, -1;
  return beneath(root, path, O_PATH, resolve);
}

/** Configures an overlay by fsopen. 1 = this kernel has no `lowerdir+` (before 6.7): use mount(2). */
static int overlay_by_fsconfig(const struct plan_record* record, int* mounted, struct failure* failure) {
  static const char step[] = "mounting the root file system";
  const struct plan_field* lowers = &record->field[1];
  int fs = sys_fsopen("overlay");
  if (fs < 0) return failed(failure, step, "fsopen", "overlay");
  for (const char* lower = plan_each(lowers, NULL); lower; lower = plan_each(lowers, lower)) {
    if (sys_fsconfig(fs, FSCONFIG_SET_STRING_, "lowerdir+", lower) == 0) continue;
    int error = errno;
    close(fs);
    failed_as(failure, error, step, "fsconfig", lower);
    return error == EINVAL && lower == lowers->at ? 1 : -1;
  }
  if (sys_fsconfig(fs, FSCONFIG_SET_STRING_, "upperdir", plan_text(record, 2)) != 0) {
    return failed(failure, step, "fsconfig", plan_text(record, 2));
  }
  if (sys_fsconfig(fs, FSCONFIG_SET_STRING_, "workdir", plan_text(record, 3)) != 0) {
    return failed(failure, step, "fsconfig", plan_text(record, 3));
  }
  if (plan_number(record, 4)) sys_fsconfig(fs, FSCONFIG_SET_FLAG_, "volatile", NULL);
  if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0)
    return failed(failure, step, "fsconfig", "overlay");
  *mounted = sys_fsmount(fs, 0);
  close(fs);
  return *mounted < 0 ? failed(failure, step, "fsmount", "overlay") : 0;
}

/** Mounts by mount(2) through links with short names, for its options must fit one page: Debian 12's kernel
 * is 6.1. */
static int overlay_by_mount(const struct plan_record* record, const char* at, struct failure* failure) {
  static const char step[] = "mounting the root file system";
  const char* links = plan_text(record, 5);
  char options[MOUNT_OPTIONS_MAX] = "lowerdir=";
  size_t used = strlen(options);
  unsigned number = 0;
  if (mkdir(links, 0700) != 0 && errno != EEXIST) return failed(failure, step, "mkdir", links);
  if (chdir(links) != 0) return failed(failure, step, "chdir", links);
  const struct plan_field* lowers = &record->field[1];
  for (const char* lower = plan_each(lowers, NULL); lower; lower = plan_each(lowers, lower)) {
    char name[12];
    snprintf(name, sizeof name, "%u", number++);
    if (symlink(lower, name) != 0 && errno != EEXIST) return failed(failure, step, "symlink", lower);
    int n = snprintf(options + used, sizeof options - used, "%s%s", number == 1 ? "" : ":", name);
    used += (size_t)n;
    if (used + 40 > sizeof options) return failed_as(failure, E2BIG, step, "mount", lower);
  }
  if (symlink(plan_text(record, 2), "u") != 0 && errno != EEXIST)
    return failed(failure, step, "symlink", "u");
  if (symlink(plan_text(record, 3), "w") != 0 && errno != EEXIST)
    return failed(failure, step, "symlink", "w");
  snprintf(options + used, sizeof options - used, ",upperdir=u,workdir=w%s",
           plan_number(record, 4) ? ",volatile" : "");
  if (mount("overlay", at, "overlay", 0, options) != 0) return failed(failure, step, "mount", at);
  if (chdir("/") != 0) return failed(failure, step, "chdir", "/");
  return 0;
}

static int step_overlay(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  uint64_t mode = plan_number(record, 0);
  const char* at = plan_text(record, 6);
  if (mode != OVERLAY_MOUNT) {
    int outcome = overlay_by_fsconfig(record, &tree->detached, failure);
    if (outcome <= 0) return outcome;
    if (mode == OVERLAY_FSCONFIG) return -1;
  }
  failure->error = 0;
  tree->detached = -1;
  return overlay_by_mount(record, at, failure);
}

static int step_root_bind(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  tree->detached =
      sys_open_tree(AT_FDCWD, plan_text(record, 0), OPEN_TREE_CLONE_ | AT_RECURSIVE_ | O_CLOEXEC);
  return tree->detached < 0
             ? failed(failure, "mounting the root file system", "open_tree", plan_text(record, 0))
             : 0;
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

static int configure(int fs, const struct plan_field* options) {
  for (const char* option = plan_each(options, NULL); option; option = plan_each(options, option)) {
    char key[128];
    const char* equals = strchr(option, '=');
    size_t length = equals ? (size_t)(equals - option) : strlen(option);
    if (length >= sizeof key) return errno = EINVAL, -1;
    memcpy(key, option, length);
    key[length] = '\0';
    if (sys_fsconfig(fs, equals ? FSCONFIG_SET_STRING_ : FSCONFIG_SET_FLAG_, key,
                     equals ? equals + 1 : NULL) != 0)
      return -1;
  }
  return 0;
}

static int set_propagation(int fd, uint64_t propagation) {
  struct mount_attributes a = {.propagation = propagation};
  return propagation ? sys_mount_setattr(fd, "", AT_EMPTY_PATH, &a) : 0;
}

static int attach(struct tree* tree, int mounted, const char* target, int folder, uint64_t resolve) {
  int place = open_target(tree->root, target, folder, resolve);
  if (place < 0) return -1;
  int outcome = sys_move_mount(mounted, place);
  int error = errno;
  close(place);
  errno = error;
  return outcome;
}

static int step_mount(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "mounting a file system";
  const char *type = plan_text(record, 0), *target = plan_text(record, 2);
  int fs = sys_fsopen(type);
  if (fs < 0) return failed(failure, step, "fsopen", type);
  if (*plan_text(record, 1)) sys_fsconfig(fs, FSCONFIG_SET_STRING_, "source", plan_text(record, 1));
  if (configure(fs, &record->field[4]) != 0 || sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0) {
    return failed(failure, step, "fsconfig", target);
  }
  int mounted = sys_fsmount(fs, (unsigned)plan_number(record, 3));
  if (mounted < 0) return failed(failure, step, "fsmount", target);
  // Only tmpfs may be asked for at a path that an image made a link; the kernel's own views never
  // (CVE-2019-19921).
  uint64_t resolve = strcmp(type, "tmpfs") == 0 && strcmp(target, "/dev") != 0 ? 0 : RESOLVE_NO_SYMLINKS_;
  if (attach(tree, mounted, target, 1, resolve) != 0) return failed(failure, step, "move_mount", target);
  if (set_propagation(mounted, plan_number(record, 5)) != 0)
    return failed(failure, step, "mount_setattr", target);
  close(mounted);
  close(fs);
  return 0;
}

static int step_bind(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "binding a path of the host";
  const char *source = plan_text(record, 0), *target = plan_text(record, 1);
  uint64_t flags = plan_number(record, 4);
  struct mount_attributes a = {.set = plan_number(record, 2), .clear = plan_number(record, 3)};
  unsigned recursive = flags & BIND_RECURSIVE ? AT_RECURSIVE_ : 0;
  int mounted = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE_ | recursive | O_CLOEXEC);
  if (mounted < 0) return failed(failure, step, "open_tree", source);
  struct stat st;
  if (fstat(mounted, &st) != 0) return failed(failure, step, "fstat", source);
  unsigned deep = flags & BIND_RECURSIVE_ATTRIBUTES ? AT_RECURSIVE_ : 0;
  if ((a.set || a.clear) && sys_mount_setattr(mounted, "", AT_EMPTY_PATH | deep, &a) != 0) {
    return failed(failure, step, "mount_setattr", source);
  }
  if (attach(tree, mounted, target, S_ISDIR(st.st_mode), 0) != 0)
    return failed(failure, step, "move_mount", target);
  if (set_propagation(mounted, plan_number(record, 5)) != 0)
    return failed(failure, step, "mount_setattr", target);
  close(mounted);
  return 0;
}

static int step_node(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "making a device node";
  const char* path = plan_text(record, 0);
  mode_t mode = (mode_t)plan_number(record, 1);
  int parent = make_folders(tree->root, path, 0, 0);
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
  close(parent);
  return 0;
}

static int step_link(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  const char* path = plan_text(record, 1);
  int parent = make_folders(tree->root, path, 0, 0);
  if (parent < 0 || (symlinkat(plan_text(record, 0), parent, last_part(path)) != 0 && errno != EEXIST)) {
    return failed(failure, "making a link", "symlinkat", path);
  }
  close(parent);
  return 0;
}

static int step_sysctl(struct tree* tree, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "setting a sysctl";
  char path[PATH_MAX];
  const char* value = plan_text(record, 1);
  if (snprintf(path, sizeof path, "proc/sys/%s", plan_text(record, 0)) >= (int)sizeof path) {
    return failed_as(failure, ENAMETOOLONG, step, "open", plan_text(record, 0));
  }
  int fd = beneath(tree->root, path, O_WRONLY, RESOLVE_NO_SYMLINKS_);
  if (fd < 0) return failed(failure, step, "open", path);
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

static int step_root_readonly(struct tree* tree, struct failure* failure) {
  struct mount_attributes a = {.set = MOUNT_ATTR_RDONLY_};
  if (sys_mount_setattr(tree->root, "", AT_EMPTY_PATH, &a) == 0) return 0;
  return failed(failure, "making the root file system read-only", "mount_setattr", "/");
}

static int step_pivot(struct tree* tree, struct failure* failure) {
  static const char step[] = "entering the root file system";
  if (fchdir(tree->root) != 0) return failed(failure, step, "fchdir", "/");
  if (syscall(SYS_pivot_root, ".", ".") != 0) return failed(failure, step, "pivot_root", ".");
  // The old root lies over the new one now; detaching it leaves only the container's tree. Source:
  // pivot_root(2).
  if (umount2(".", MNT_DETACH) != 0) return failed(failure, step, "umount2", ".");
  if (chdir("/") != 0) return failed(failure, step, "chdir", "/");
  return 0;
}

int tree_step(struct tree* tree, const struct plan_record* record, struct failure* failure) {
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
    case PLAN_ROOT_READONLY:
      return step_root_readonly(tree, failure);
    case PLAN_PIVOT:
      return step_pivot(tree, failure);
    default:
      return failed_as(failure, ENOSYS, "reading the plan", "plan", "unknown operation");
  }
}
