// What the first process may not make itself, because it lives in a user namespace or a mount namespace of its own: the
// shim makes it with the host's rights and hands the unattached mounts over, in the order of the plan.
#pragma once

#include "failure.h"
#include "plan.h"

// Binds are few; this is far above what anyone mounts, and far below the usual limit of open files.
#define OUTSIDE_MAX 512

struct outside {
  int fds[OUTSIDE_MAX];
  unsigned count;
  unsigned next;
};

/** Makes everything of the plan that is to be made outside; `userns` maps its ids, -1 = there is none. */
int outside_make(struct plan plan, int userns, struct outside* made, struct failure* failure);

/** Sends it and forgets it. Also tells the first process that its maps are in place. */
int outside_send(int door, struct outside* made, struct failure* failure);

/** Waits for what `outside_send` sends. */
int outside_receive(int door, struct outside* taken, struct failure* failure);

/** The next one; -1 with errno when there is none. */
int outside_next(struct outside* taken);
