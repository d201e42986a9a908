// A command whose streams are its caller's: pipes handed on as they are, or a terminal of the container that is
// relayed to a socket. The caller goes: the command's whole tree dies, unless it is detached.
#pragma once

#include <sys/types.h>

#include "failure.h"
#include "plan.h"
#include "terminal.h"

struct stream {
  int wanted;
  unsigned flags;  // enum plan_stream_flags
  uint64_t rows, columns;
  struct terminal terminal;
  int handover[2];  // socket pair: the command's process sends its terminal
  int client;       // the terminal's other side: our descriptor 0 until `stream_open`; -1 without a terminal
};

/** What `stream_watch` needs of a command that runs. */
struct streamed {
  int door;
  int pidfd;
  pid_t pid;
  int tree;  // cgroup folder of all its processes
};

/** Takes PLAN_STREAM. */
void stream_take(struct stream* stream, const struct plan_record* record);

/** Gives the pipes among descriptors 0 to 2 to PLAN_STDIO_OWNER, who may open them again by /dev/stdout and the
 * like. */
int stream_give(const struct stream* stream, struct plan plan, struct failure* failure);

/** Before the command's process is made: readies what the terminal comes over. */
int stream_open(struct stream* stream, struct failure* failure);

/** In the command's process, a session leader with root's rights in the container: opens the terminal, hands it to the
 * parent and makes it its own. */
int stream_enter(struct stream* stream, uid_t uid, struct failure* failure);

/** In the parent: takes the terminal; what only the command is to hold is let go; `null` takes its place. */
void stream_leave(struct stream* stream, int null);

/** Relays, resizes and signals until the command has ended; gives its wait status, and whether it was killed
 * because the caller has gone. */
int stream_watch(struct stream* stream, const struct streamed* command, int* killed);
