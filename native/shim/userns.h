// User namespaces: their maps, and mounts that show ids through them.
#pragma once

#include <sys/types.h>

#include "failure.h"
#include "plan.h"

/** Whether the container lives in a user namespace of its own or of somebody else. */
int userns_wanted(struct plan plan);

/**
 * Gives the process' new user namespace the maps of the plan, or, when `made` is 0 because it was joined, proves that it
 * has them: files were given to their ids. Source: user_namespaces(7).
 */
int userns_map(struct plan plan, pid_t pid, int made, struct failure* failure);

/** A descriptor of the process' user namespace; -1 with `failure`. */
int userns_of(pid_t pid, struct failure* failure);

/** A descriptor of a new user namespace that nobody lives in, only to map a mount; -1 with `failure`. */
int userns_make(const char* uid_map, const char* gid_map, struct failure* failure);

/** Whether this host can do all that: makes a user namespace and shows a folder through it. 0, or -1 with `failure`. */
int userns_probe(const char* folder, struct failure* failure);

/** Shows an unattached mount's files through the ids of `userns`. 0 or -1 with errno: EINVAL = its file system cannot.
 */
int idmap_mount(int mount, int userns, int recursive);
