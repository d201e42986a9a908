// The container's file system, built by descriptor: every target is resolved beneath the new root, so that no
// link in an image or volume leads a mount elsewhere.
#pragma once

#include "failure.h"
#include "outside.h"
#include "plan.h"

/** The tree being built. `root` is an O_PATH descriptor once PLAN_ROOT_AT has run; the others are made when
 * needed. */
struct tree {
  int root;
  int detached;     // the root file system before it is attached
  int mask_file;    // clone source of masks: /dev/null
  int mask_folder;  // clone source of masks: an empty read-only tmpfs
  int proc;         // the container's own /proc, by which the kernel is told things
  int has_devices;  // /dev came with its nodes
  int in_order;     // the kernel's list of mounts has the plan's order
  int taken;        // the last mount taken from the shim
  struct outside outside;
};

/** A tree of nothing yet. */
#define TREE_EMPTY \
  { .root = -1, .detached = -1, .mask_file = -1, .mask_folder = -1, .proc = -1, .taken = -1 }

/** Runs one operation from PLAN_OVERLAY to PLAN_PIVOT that concerns the tree. 0, or -1 with `failure` filled.
 */
int tree_step(struct tree* tree, const struct plan_record* record, struct failure* failure);
