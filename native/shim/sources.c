#include "sources.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "aside.h"
#include "namespaces.h"
#include "sys.h"
#include "userns.h"

int set_propagation(int mount, uint64_t propagation) {
  struct mount_attributes a = {.propagation = propagation & ~(uint64_t)MS_REC};
  if (propagation == 0) return 0;
  return sys_mount_setattr(mount, "", AT_EMPTY_PATH | (propagation & MS_REC ? AT_RECURSIVE_ : 0), &a);
}

int source_root(const struct plan_record* record, struct failure* failure) {
  static const char step[] = "mounting the root file system";
  const char* path = plan_text(record, 0);
  int mounted = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE_ | AT_RECURSIVE_ | O_CLOEXEC);
  if (mounted < 0) return failed(failure, step, "open_tree", path);
  // What the container mounts stays in it; what the host mounts arrives.
  if (set_propagation(mounted, MS_SLAVE | MS_REC) != 0) return failed(failure, step, "mount_setattr", path);
  return mounted;
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

int source_file_system(const struct plan_record* record, struct failure* failure) {
  static const char step[] = "mounting a file system";
  const char *type = plan_text(record, 0), *target = plan_text(record, 2);
  int fs = sys_fsopen(type);
  if (fs < 0) return failed(failure, step, "fsopen", type);
  // Only a label for most; those that need it say so when they are created.
  if (*plan_text(record, 1)) sys_fsconfig(fs, FSCONFIG_SET_STRING_, "source", plan_text(record, 1));
  if (configure(fs, &record->field[4]) != 0 || sys_fsconfig(fs, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0) {
    failed(failure, step, "fsconfig", target);
    close(fs);
    return -1;
  }
  int mounted = sys_fsmount(fs, (unsigned)plan_number(record, 3));
  if (mounted < 0) failed(failure, step, "fsmount", target);
  close(fs);
  return mounted;
}

struct joined {
  struct plan plan;
  const struct plan_record* record;
};

static int mount_joined(void* with, struct aside* result) {
  const struct joined* joined = with;
  if (namespaces_join_some(joined->plan, CLONE_NEWNET | CLONE_NEWIPC, &result->failure) != 0) return -1;
  result->fd = source_file_system(joined->record, &result->failure);
  return result->fd < 0 ? -1 : 0;
}

int source_joined_file_system(struct plan plan, const struct plan_record* record, struct failure* failure) {
  struct joined joined = {.plan = plan, .record = record};
  struct aside result;
  if (aside(0, mount_joined, &joined, &result) != 0) return *failure = result.failure, -1;
  return result.fd;
}

static int map_ids(int mounted, const struct plan_record* record, int userns, struct failure* failure) {
  const char *uid_map = plan_text(record, 8), *gid_map = plan_text(record, 9), *source = plan_text(record, 0);
  int own = *uid_map ? userns_make(uid_map, gid_map, failure) : userns;
  if (*uid_map && own < 0) return -1;
  int outcome = idmap_mount(mounted, own, plan_number(record, 4) & BIND_IDMAP_RECURSIVE ? 1 : 0);
  if (outcome != 0) failed(failure, "mapping the ids of a bound path", "mount_setattr", source);
  if (own != userns) close(own);
  return outcome;
}

int source_bind(const struct plan_record* record, int userns, struct failure* failure) {
  static const char step[] = "binding a path of the host";
  const char* source = plan_text(record, 0);
  uint64_t flags = plan_number(record, 4), propagation = plan_number(record, 5);
  struct mount_attributes top = {.set = plan_number(record, 2), .clear = plan_number(record, 3)};
  struct mount_attributes below = {.set = plan_number(record, 6), .clear = plan_number(record, 7)};
  unsigned recursive = flags & BIND_RECURSIVE ? AT_RECURSIVE_ : 0;
  int mounted = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE_ | recursive | O_CLOEXEC);
  if (mounted < 0) return failed(failure, step, "open_tree", source);
  // The recursive ones first: what is said of the top alone has the last word there.
  if ((below.set || below.clear) &&
      sys_mount_setattr(mounted, "", AT_EMPTY_PATH | AT_RECURSIVE_, &below) != 0)
    return failed(failure, step, "mount_setattr", source);
  // Made outside it still belongs to the host's peers, which only `shared` asks for; of one mount that is one call.
  uint64_t parting = propagation & MS_SHARED ? 0 : MS_SLAVE;
  if (!recursive) top.propagation = parting;
  if ((top.set || top.clear || top.propagation) && sys_mount_setattr(mounted, "", AT_EMPTY_PATH, &top) != 0)
    return failed(failure, step, "mount_setattr", source);
  if (flags & BIND_IDMAP && map_ids(mounted, record, userns, failure) != 0) return -1;
  if (recursive && parting && set_propagation(mounted, parting | MS_REC) != 0)
    return failed(failure, step, "mount_setattr", source);
  if (set_propagation(mounted, propagation) != 0) return failed(failure, step, "mount_setattr", source);
  return mounted;
}

/** One node below the tmpfs; `path` starts with /dev/. Nobody but us can reach that tmpfs yet. */
static int make_node(int folder, const struct plan_record* record, struct failure* failure) {
  static const char step[] = "making a device node";
  const char* path = plan_text(record, 0);
  const char* name = path + strlen("/dev/");
  char prefix[256];
  for (const char* slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
    size_t length = (size_t)(slash - name);
    if (length >= sizeof prefix) return failed_as(failure, ENAMETOOLONG, step, "mkdirat", path);
    memcpy(prefix, name, length);
    prefix[length] = '\0';
    if (mkdirat(folder, prefix, 0755) != 0 && errno != EEXIST) return failed(failure, step, "mkdirat", path);
  }
  dev_t device = makedev((unsigned)plan_number(record, 2), (unsigned)plan_number(record, 3));
  if (mknodat(folder, name, (mode_t)plan_number(record, 1), device) != 0)
    return failed(failure, step, "mknodat", path);
  if (fchownat(folder, name, (uid_t)plan_number(record, 4), (gid_t)plan_number(record, 5),
               AT_SYMLINK_NOFOLLOW) != 0)
    return failed(failure, step, "fchownat", path);
  return 0;
}

int source_devices(struct plan plan, const struct plan_record* record, struct failure* failure) {
  struct plan_record node;
  int mounted = source_file_system(record, failure);
  if (mounted < 0) return -1;
  mode_t before = umask(0);
  int outcome = 0;
  while (outcome == 0 && plan_find(&plan, PLAN_NODE, &node) == 1)
    outcome = make_node(mounted, &node, failure);
  umask(before);
  return outcome == 0 ? mounted : -1;
}
