// Sync points: places at which a test makes the shim, the first process or an exec helper die, stop or fail. They exist
// in covey-shim-faults only (COVEY_FAULTS; test/faults/fault.c); in the shim that is shipped a point is nothing.
#pragma once

#include "failure.h"
#include "plan.h"

#ifdef COVEY_FAULTS

/** Takes the fault from the environment of the plan's program: `COVEY_FAULT=POINT[#TIME]:ACTION[:ERRNO]`. */
void fault_read(struct plan plan);

/**
 * A place in the life of a container. When the fault names it, at its TIME-th passing (1 when not said): `die` is
 * SIGKILL (SIGILL in the first process), `stop` SIGSTOP, `errno` fills `failure` and gives -1, for which `failure` must not be NULL. 0 otherwise.
 */
int fault_at(const char* point, struct failure* failure);

#else

static inline void fault_read(struct plan plan) { (void)plan; }
static inline int fault_at(const char* point, struct failure* failure) {
  (void)point;
  (void)failure;
  return 0;
}

#endif
