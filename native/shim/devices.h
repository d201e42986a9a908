// Device rules on cgroup v2, where they are a BPF program.
#pragma once

#include "failure.h"
#include "plan.h"

/**
 * Attaches a program to the cgroup that allows what the rules allow. A rule is "a|b|c MAJOR:MINOR rwm" with *
 * for any number; all are permissions, whatever no rule names is refused. Source: kernel docs, "Device
 * controller"; bpf(2).
 */
int devices_attach(int cgroup, const struct plan_field* rules, struct failure* failure);
