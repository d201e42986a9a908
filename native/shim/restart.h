// Running a container again where it is, while no agent is there to decide: the same folder, cgroup, network namespace and
// writable layer, a new first process. With an agent in attendance nothing of this happens: the manager decides. But an agent
// may be dead before its attendance ends, for as long as a child of it holds its descriptors: an end is its own only once it
// has said that it takes it.
//
// The rule is agent/runs.ts's, and so are its constants: not before `hold` without an agent has passed, in which a manager
// may still act; after `delay`, doubled for each quick death in a row; not more often than `attempts` in `window`.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "plan.h"

struct shim;

struct restart {
  enum plan_restart_condition condition;
  int64_t delay_ms, window_ms, hold_ms;
  uint64_t attempts;         // 0 = without limit
  int64_t* times;            // a ring of the last `attempts` restarts, monotonic ms
  uint64_t count;            // restarts so far, those before us included
  unsigned run;              // from 1
  unsigned quick;            // quick deaths in a row
  unsigned failed;           // begins that failed, in a row
  int retired;               // it is to end; or an agent that knows nothing of this commands it
  unsigned attending;        // one bit a client
  unsigned taking;           // those of them that say so when they have heard of an end
  unsigned told;             // those of them that were told of this one
  int taken;                 // by one of them: what follows is decided there
  int64_t unattended_since;  // monotonic ms
  int64_t run_since;         // monotonic ms; when the command of this run was let go
  struct plan plan;          // of later runs
  int network, users;        // its own network and user namespaces, kept; -1 = none
};

/** Takes PLAN_RESTART. */
int restart_take(struct restart* restart, const struct plan_record* record, struct failure* failure);

/** Keeps what another run needs of the first process; the plan is kept too. Nothing when it is never to run again. */
int restart_keep(struct shim* shim, struct failure* failure);

/** An agent that speaks `version` attends. */
void restart_attended(struct restart* restart, int client, long version);

/** It attends no more, or has gone. */
void restart_left(struct restart* restart, int client);

/** It has heard of the end that it was told of, and decides what follows. */
void restart_taken(struct restart* restart, int client);

/**
 * After a run has ended and its exit lies in exit.json: waits as long as the policy says, then begins the next, and puts that
 * exit aside as exit.N.json. 1 = it runs; -1 = it could not be begun (`failure`), which is a run that has ended; 0 = it is
 * over: the policy says so, or somebody is there to decide.
 */
int restart_again(struct shim* shim, int succeeded, struct failure* failure);

/** Milliseconds of the monotonic clock. */
int64_t monotonic_ms(void);
