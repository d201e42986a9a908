#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "aside.h"
#include "sys.h"
#include "userns.h"

// mount(2) takes one page of options.
#define MOUNT_OPTIONS_MAX 4096

static const char kStep[] = "mounting the root file system";
static const char kIdmap[] = "mapping the ids of an image layer";

// An image's layers are not ours: what their attributes say of redirected folders and of data kept elsewhere would be
// followed with the host's rights. Source: kernel docs, overlayfs, "Metadata only copy up" and "redirect_dir".
#define METACOPY "off"
#define REDIRECT_DIR "nofollow"

/** An unattached copy of a layer, its ids mapped. */
static int mapped_layer(const char* path, int userns, struct failure* failure) {
  int layer = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE_ | O_CLOEXEC);
  if (layer < 0) return failed(failure, kIdmap, "open_tree", path);
  if (idmap_mount(layer, userns, 0) == 0) return layer;
  failed(failure, kIdmap, "mount_setattr", path);
  close(layer);
  return -1;
}

/** The overlay being configured. */
struct overlay {
  int fs;
  int userns;
  // Closing one of them dissolves its mount: not before the overlay is created.
  int layers[PLAN_LAYERS_MAX];
  unsigned layer_count;
};

static struct overlay overlay;

/**
 * Keeps the failure of fsconfig; 1 when the kernel may take the same options by mount(2). Before 6.7 there is no
 * `lowerdir+` by path, before 6.13 none by descriptor; but overlayfs then reads its options as one text only when it is
 * created, so that it is refused there, or wherever the text no longer fits a page; descriptors are refused with EOPNOTSUPP at once.
 */
static int refused(const char* path, struct failure* failure) {
  failed(failure, kStep, "fsconfig", path);
  return failure->error == EINVAL || failure->error == EOPNOTSUPP ? 1 : -1;
}

/** 0, -1, or 1 as `refused`. */
static int add_layer(struct overlay* o, const char* path, struct failure* failure) {
  int outcome;
  if (o->userns < 0) {
    outcome = sys_fsconfig(o->fs, FSCONFIG_SET_STRING_, "lowerdir+", path);
  } else {
    if (o->layer_count == PLAN_LAYERS_MAX) return failed_as(failure, E2BIG, kStep, "plan", path);
    int layer = mapped_layer(path, o->userns, failure);
    if (layer < 0) return -1;
    o->layers[o->layer_count++] = layer;
    outcome = sys_fsconfig_fd(o->fs, "lowerdir+", layer);
  }
  return outcome == 0 ? 0 : refused(path, failure);
}

static int configure(struct overlay* o, const struct plan_record* record, struct failure* failure) {
  const struct plan_field* lowers = &record->field[1];
  const char* const options[][2] = {{"upperdir", plan_text(record, 2)},
                                    {"workdir", plan_text(record, 3)},
                                    {"metacopy", METACOPY},
                                    {"redirect_dir", REDIRECT_DIR}};
  for (const char* lower = plan_each(lowers, NULL); lower; lower = plan_each(lowers, lower)) {
    int outcome = add_layer(o, lower, failure);
    if (outcome != 0) return outcome;
  }
  for (unsigned i = 0; i < sizeof options / sizeof *options; i++) {
    if (sys_fsconfig(o->fs, FSCONFIG_SET_STRING_, options[i][0], options[i][1]) != 0)
      return refused(options[i][1], failure);
  }
  if (plan_number(record, 4) && sys_fsconfig(o->fs, FSCONFIG_SET_FLAG_, "volatile", NULL) != 0)
    return failed(failure, kStep, "fsconfig", "volatile");
  if (sys_fsconfig(o->fs, FSCONFIG_CMD_CREATE_, NULL, NULL) != 0) return refused("overlay", failure);
  return 0;
}

static int by_fsconfig(const struct plan_record* record, int userns, int* mounted, struct failure* failure) {
  overlay.userns = userns;
  overlay.fs = sys_fsopen("overlay");
  if (overlay.fs < 0) return failed(failure, kStep, "fsopen", "overlay");
  int outcome = configure(&overlay, record, failure);
  if (outcome == 0 && (*mounted = sys_fsmount(overlay.fs, 0)) < 0)
    outcome = failed(failure, kStep, "fsmount", "overlay");
  close(overlay.fs);
  return outcome;
}

void overlay_let_go(void) {
  for (unsigned i = 0; i < overlay.layer_count; i++) close(overlay.layers[i]);
  overlay.layer_count = 0;
}

struct by_mount {
  const struct plan_record* record;
  int userns;
};

/** A layer under its short name in the folder we are in: a link, or a mount of its mapped copy. */
static int name_layer(const char* path, const char* name, int userns, struct failure* failure) {
  if (userns < 0) return symlink(path, name) == 0 ? 0 : failed(failure, kStep, "symlink", path);
  int layer = mapped_layer(path, userns, failure);
  if (layer < 0) return -1;
  int place = mkdir(name, 0700) == 0 ? open(name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  int outcome = place < 0 ? -1 : sys_move_mount(layer, place);
  if (outcome != 0) failed(failure, kIdmap, "move_mount", path);
  close(layer);
  if (place >= 0) close(place);
  return outcome;
}

/** Short names for all layers, in a tmpfs that only this process' mount namespace has; gives `lowerdir=0:1:2…`. */
static int name_layers(const struct by_mount* by, char* options, size_t size, struct failure* failure) {
  const struct plan_field* lowers = &by->record->field[1];
  const char* links = plan_text(by->record, 5);
  unsigned number = 0;
  size_t used = (size_t)snprintf(options, size, "lowerdir=");
  if (mkdir(links, 0700) != 0 && errno != EEXIST) return failed(failure, kStep, "mkdir", links);
  if (mount("tmpfs", links, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700") != 0)
    return failed(failure, kStep, "mount", links);
  if (chdir(links) != 0) return failed(failure, kStep, "chdir", links);
  for (const char* lower = plan_each(lowers, NULL); lower; lower = plan_each(lowers, lower)) {
    char name[12];
    snprintf(name, sizeof name, "%u", number);
    if (name_layer(lower, name, by->userns, failure) != 0) return -1;
    used += (size_t)snprintf(options + used, size - used, "%s%s", number++ == 0 ? "" : ":", name);
    if (used + 120 > size) return failed_as(failure, E2BIG, kStep, "mount", lower);
  }
  if (symlink(plan_text(by->record, 2), "u") != 0 || symlink(plan_text(by->record, 3), "w") != 0)
    return failed(failure, kStep, "symlink", links);
  snprintf(options + used, size - used,
           ",upperdir=u,workdir=w,metacopy=" METACOPY ",redirect_dir=" REDIRECT_DIR "%s",
           plan_number(by->record, 4) ? ",volatile" : "");
  return 0;
}

static int mount_aside(void* with, struct aside* result) {
  const struct by_mount* by = with;
  struct failure* failure = &result->failure;
  char options[MOUNT_OPTIONS_MAX];
  const char* at = plan_text(by->record, 6);
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return failed(failure, kStep, "mount", "/");
  if (name_layers(by, options, sizeof options, failure) != 0) return -1;
  if (mount("overlay", at, "overlay", 0, options) != 0) return failed(failure, kStep, "mount", at);
  result->fd = sys_open_tree(AT_FDCWD, at, OPEN_TREE_CLONE_ | O_CLOEXEC);
  return result->fd < 0 ? failed(failure, kStep, "open_tree", at) : 0;
}

/** By mount(2), whose options must fit one page, and whose layers must have paths: Debian 12's kernel is 6.1. */
static int by_mount(const struct plan_record* record, int userns, int* mounted, struct failure* failure) {
  struct by_mount by = {.record = record, .userns = userns};
  struct aside result;
  if (aside(CLONE_NEWNS, mount_aside, &by, &result) != 0) return *failure = result.failure, -1;
  *mounted = result.fd;
  return 0;
}

int overlay_make(const struct plan_record* record, int userns, int* mounted, struct failure* failure) {
  uint64_t mode = plan_number(record, 0);
  if (mode != OVERLAY_MOUNT) {
    int outcome = by_fsconfig(record, userns, mounted, failure);
    if (outcome <= 0) return outcome;
    if (mode == OVERLAY_FSCONFIG) return -1;
  }
  failure->error = 0;
  return by_mount(record, userns, mounted, failure);
}
