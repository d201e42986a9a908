// Pseudo-terminals of a container: opened in its own devpts, given to its process, sized; and descriptors sent
// over a socket.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"

struct terminal {
  int master;  // non-blocking
  int peer;    // what the process gets
};

/**
 * Opens a new terminal of the devpts at dev/pts beneath `root`. Whatever else lies there is refused: the
 * container may have put it there (CVE-2025-52565). The peer comes from the master, never by a path.
 * 0, or -1 with `failure` filled. Source: ioctl_tty(2), TIOCGPTPEER.
 */
int terminal_open(int root, struct terminal* terminal, struct failure* failure);

/** Puts the peer over dev/console beneath `root`, as OCI runtime-spec config.md, "terminal", wants it. */
int terminal_console(int root, const struct terminal* terminal, struct failure* failure);

/** The calling session leader's controlling terminal and its descriptors 0 to 2; owned by `uid` from then on. */
int terminal_enter(const struct terminal* terminal, uid_t uid, struct failure* failure);

/** Sets rows and columns, each from 1; those of 0 are left alone. 0 or -1 with errno. */
int terminal_resize(int master, uint64_t rows, uint64_t columns);

/** Sends a message with `count` descriptors, at most 2. 0 or -1 with errno. */
int send_descriptors(int socket, const void* message, size_t length, const int* descriptors, unsigned count);

/** Receives a message; up to 2 descriptors that come with it are put into `descriptors`, -1 for each that does
 * not. Bytes received, or -1 with errno. */
ssize_t receive_descriptors(int socket, void* message, size_t length, int descriptors[2]);
