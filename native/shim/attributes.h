// What the kernel keeps of a process beside user and capabilities: scheduling, I/O priority, execution domain, CPUs,
// security label.
#pragma once

#include "failure.h"
#include "plan.h"

/** Applies one of PLAN_SCHEDULER to PLAN_AFFINITY to this process at once; what it does not know fails with ENOSYS. */
int attribute_step(const struct plan_record* record, struct failure* failure);

/** Binds this process to the CPUs of a mask. */
int attribute_affinity(const struct plan_field* mask, struct failure* failure);

/** PLAN_OOM_SCORE, through this process' own /proc: where that is another's, it is set before. Children inherit it. */
int attribute_oom_score(const struct plan_record* record, struct failure* failure);

/** PLAN_LABEL: the label this process gets at its next exec. `proc` is a folder that must be procfs. */
int attribute_label(int proc, const struct plan_record* record, struct failure* failure);
