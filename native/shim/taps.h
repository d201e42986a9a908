// Who listens to a container while it runs, beside its log: each has a copy of all that it says from then on, and may be the one
// that types. A listener that stands still holds the container up, as a full pipe would; one that goes is forgotten.
#pragma once

#include <poll.h>
#include <stddef.h>

#define TAPS_MAX 8
#define TAPS_AHEAD_MAX 16384u
/** Descriptors to poll: the container's input, and two of each tap. */
#define TAPS_POLLS (1 + 2 * TAPS_MAX)

struct tap {
  int io;   // stdout to it, and what it types from it
  int err;  // stderr to it
  int feeds;
};

struct taps {
  struct tap all[TAPS_MAX];
  unsigned count;
  int input;  // where what is typed goes: the write end of a pipe or the terminal's master; -1 = nowhere
  int is_terminal;  // the input is not ours to close
  int once;         // the first that has no more to type ends the input
  size_t start, end;
  char ahead[TAPS_AHEAD_MAX];  // typed and not taken yet
};

/** Begins without listeners and input. */
void taps_init(struct taps* taps);

/** One more listener; the descriptors are the taps' from then on. 0, or -1 with errno when there are too many. */
int taps_add(struct taps* taps, int io, int err, int feeds);

/** True when each of them has room for all that can come by one read of each stream. */
int taps_have_room(const struct taps* taps);

/** Says what is to be polled. */
void taps_set_up(const struct taps* taps, struct pollfd polls[TAPS_POLLS]);

/** Takes what is typed, forgets who has gone. */
void taps_serve(struct taps* taps, const struct pollfd polls[TAPS_POLLS]);

/** Gives everybody a piece of stdout (1) or stderr (2). Who cannot take it whole, though there was room, is cut off. */
void taps_give(struct taps* taps, int stream, const char* text, size_t length);

/** The container reads no more: what was typed ahead goes, and the pipe is closed. */
void taps_close_input(struct taps* taps);

/** Nothing more is said. */
void taps_close(struct taps* taps);
