// Containers of the OCI command line: the shim makes the container and ends; the first process stays behind, adopted by
// whoever collects orphans (conmon, containerd's shim), and waits on a socket in the state folder until it is started.
//
// A start connects to START_NAME. The first process answers "g", takes no further connection, and the end of this one is
// exec's success; a struct failure on it is exec's failure.
#pragma once

#include "failure.h"
#include "plan.h"
#include "program.h"
#include "terminal.h"

#define START_NAME "start"

struct leave {
  int on;
  int kept;      // descriptors our caller gave us
  int listener;  // where a start connects
  int console;   // socket the terminal's master goes to; -1 = no terminal
  int first;     // the first descriptor to be handed on as 3
  int handed;    // how many
};

/** Reads PLAN_LEAVE; `on` stays 0 when there is none. What our caller gave us starts at `first`; everything beyond it is
 * closed. */
void leave_read(struct leave* leave, struct plan plan, int first);

/** Opens the socket of the start in the state folder. */
int leave_listen(struct leave* leave, int folder, struct failure* failure);

/** Runs prestart and createRuntime when the first process asks for it, and lets it go on. */
int leave_hooks(struct plan plan, int door, int pid, struct failure* failure);

/** In the first process, before the old root is gone: has the shim run its hooks, then runs createContainer. */
int leave_hooks_inside(struct plan plan, int door, struct failure* failure);

/** In the process: sends the terminal's master to the console socket, if there is a terminal, and places the descriptors
 * that are handed on. */
int leave_place(const struct leave* leave, const struct terminal* terminal, struct failure* failure);

/** In the first process: tells the shim on `*door` that it is ready, waits for a start, runs startContainer. `*door` is
 * where failures go from then on. */
int leave_wait(const struct leave* leave, struct plan plan, const struct program* program, int* door,
               struct failure* failure);
