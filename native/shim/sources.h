// What is mounted, before it is known where: unattached mounts, made from the plan's records by whoever has the rights.
#pragma once

#include "failure.h"
#include "plan.h"

/** A PLAN_ROOT_BIND's folder with everything mounted below it. A descriptor, or -1 with `failure`. */
int source_root(const struct plan_record* record, struct failure* failure);

/** A PLAN_MOUNT's file system: a new instance in the caller's namespaces. A descriptor, or -1 with `failure`. */
int source_file_system(const struct plan_record* record, struct failure* failure);

/**
 * The same, made with the host's rights in the network or IPC namespace that the container joins: from a user namespace
 * that does not own those, sysfs and mqueue cannot be mounted. A descriptor, or -1 with `failure`.
 */
int source_joined_file_system(struct plan plan, const struct plan_record* record, struct failure* failure);

/**
 * A PLAN_BIND's path with its attributes, its propagation and, when asked for, its ids mapped: through the record's own
 * maps or else through `userns`. A descriptor, or -1 with `failure`.
 */
int source_bind(const struct plan_record* record, int userns, struct failure* failure);

/**
 * A tmpfs for /dev with the plan's device nodes: made with the host's rights, because a file system made in a user
 * namespace has no working nodes and none can be made there. `record` is its PLAN_MOUNT. A descriptor, or -1.
 */
int source_devices(struct plan plan, const struct plan_record* record, struct failure* failure);

/** Changes the propagation of a mount (MS_SHARED, …, with MS_REC for everything below it); 0 = leave it. 0 or -1. */
int set_propagation(int mount, uint64_t propagation);
