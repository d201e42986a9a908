// The container's cgroups: made, limited, entered, asked about OOM kills.
#pragma once

#include "failure.h"
#include "plan.h"

/** Runs the cgroup settings of the plan in order: folders and limits. */
int cgroup_make(struct plan plan, struct failure* failure);

/** Removes the folders the plan names; what is busy stays. */
void cgroup_unmake(struct plan plan);

/** The calling process enters every v1 cgroup of the plan. */
int cgroup_enter(struct plan plan, struct failure* failure);

/** A descriptor of the v2 cgroup for CLONE_INTO_CGROUP; -1 with failure->error 0 when the plan has none. */
int cgroup_unified(struct plan plan, struct failure* failure);

/** The `oom_kill` count in memory.oom_control or memory.events; 0 when unknown. */
unsigned long long oom_kills(int file);

/** Kills every process below a cgroup folder: cgroup.kill on v2, freezer and kill loop on v1. */
void cgroup_kill(int folder);
