// Lines that wait for the disk while the container goes on: a bounded ring, emptied by a thread of its own. Only a log in
// mode non-blocking has one; a disk that hangs then costs lines and never the container's time.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "log_file.h"

struct log_ring;

/** A ring of `size` bytes before `file`, which is the ring's own from now on. NULL with errno. */
struct log_ring* log_ring_open(struct log_file* file, uint64_t size);

/** Takes as many of the whole lines as there is room for, never waits; gives the bytes taken, which end at a line's end. */
size_t log_ring_put(struct log_ring* ring, const char* lines, size_t bytes);

/** Waits until everything has been written; the thread is gone afterwards. */
void log_ring_close(struct log_ring* ring);

/** Gives back memory that no line uses. */
void log_ring_rest(struct log_ring* ring);
