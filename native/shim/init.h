// The container's first process, from clone to exec.
#pragma once

#include "plan.h"

struct init_start {
  struct plan plan;
  int door;  // SEQPACKET to the shim: a failure, or one byte "ready"; then one byte "go"; closed by exec
  int out;   // write ends of the log pipes
  int err;
  int netns;  // -1 = made by clone
};

/** Runs the plan; never returns. */
_Noreturn void init_main(struct init_start start);
