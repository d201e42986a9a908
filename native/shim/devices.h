// Which device nodes a container may make and use, on cgroup v2: a BPF program on its cgroup. On v1 the list is written as
// settings.
#pragma once

#include "failure.h"
#include "plan.h"

/** Loads the program and attaches it to the cgroup folder. Source: bpf(2), BPF_CGROUP_DEVICE. */
int devices_attach(int cgroup, const struct plan_field* program, struct failure* failure);
