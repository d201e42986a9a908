// The container's first process, from clone to exec.
#pragma once

#include "leave.h"
#include "plan.h"

struct init_start {
  struct plan plan;
  int door;  // SEQPACKET to the shim: a failure, or one byte "ready"; then one byte "go"; closed by exec
  int out;   // write ends of the log pipes
  int err;
  int in;         // read end of what is typed; -1 = it reads /dev/null
  uint64_t made;  // CLONE_NEW… of the namespaces that are the container's own
  uint64_t
      late;  // those of them that it makes itself, while the shim makes its cgroups: word comes when they are there
  int joined;   // the others have been joined already
  int mapped;   // in a user namespace: the shim sends word when its maps and mounts are there
  int chroots;  // the mount namespace is not its own
  struct leave leave;
};

/** Runs the plan; never returns. */
_Noreturn void init_main(struct init_start start);
