// Namespaces that exist already, and those that are not made by clone3.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "plan.h"

/**
 * Whether joining needs a process of its own between the shim and the first process: a pid namespace holds only children
 * of the one who joined, a user namespace must be entered before the others are made, and with one of the container's own
 * the host's rights are gone before anything else could be joined.
 */
int namespaces_need_stem(struct plan plan, uint64_t made);

/** Joins those of the plan whose flag is among `flags`. */
int namespaces_join_some(struct plan plan, uint64_t flags, struct failure* failure);

/** Joins everything of the plan but the mount namespace, the user namespace last. */
int namespaces_join(struct plan plan, struct failure* failure);

/** Joins the mount namespace of the plan, if there is one: afterwards its root is ours. */
int namespaces_join_mount(struct plan plan, struct failure* failure);

/** Makes the time namespace of the plan, if there is one, and enters it. Source: time_namespaces(7). */
int namespaces_offset_time(struct plan plan, struct failure* failure);

/** The root folder of a process, or -1. Should its number be another's by now, entering it by the pidfd says so. */
int namespaces_root(int pidfd, struct failure* failure);

/**
 * Enters the namespaces of a process with the host's rights, but for the two that `namespaces_enter_last` takes; raises the
 * resource limits of `plan` as long as that may be done. 1 = the process has a user namespace other than ours, 0 or -1.
 */
int namespaces_enter(int pidfd, struct plan plan, struct failure* failure);

/**
 * What the command itself enters, after it was cloned: the cgroup namespace, because cgroup v2 with nsdelegate lets nobody
 * in it bring a process in from outside (ENOENT of clone3), and the user namespace, in which the rights to do so are lost.
 */
int namespaces_enter_last(int pidfd, int own_user, struct failure* failure);

/** Raises our hard limits to those of the plan, the soft ones stay: in a user namespace nobody may. 0 or -1. */
int limits_raise(struct plan plan, struct failure* failure);
