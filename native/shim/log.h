// The container's log: what comes out of its pipes becomes lines with their time and stream, in files that rotate.
//
// LOG_TEXT writes `2026-11-21T10:09:42.123456789Z stdout F text` (the format of Kubernetes' CRI): time of reading,
// stream, F for a line that ends here or P for a piece of one longer than 16 KiB. LOG_JSON writes Docker's json-file:
// {"log":"text\n","stream":"stdout","time":"…"}; a piece has no \n at its end, and bytes that are no UTF-8 become
// U+FFFD. LOG_NONE keeps nothing. Source: kuberuntime/logs; moby, daemon/logger/jsonfilelog.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "log_file.h"
#include "plan.h"
#include "taps.h"

#define LOG_LINE_MAX 16384u

struct log_ring;

/** How a container is logged; see PLAN_LOG. */
struct log_settings {
  const char* path;
  uint64_t size_max;
  unsigned files;
  enum plan_log_format format;
  uint64_t buffer;  // bytes that may wait for the disk while the container goes on; 0 = the container waits
};

struct log {
  struct log_file file;
  enum plan_log_format format;
  struct log_ring* ring;       // with `buffer` only
  unsigned long long dropped;  // lines for which the ring had no room, not mentioned yet
};

struct log_stream {
  int fd;             // the read end of the container's pipe; -1 once it has ended
  int number;         // 1 stdout, 2 stderr
  struct taps* taps;  // who gets a copy of it
  const char* name;
  size_t used;
  char rest[LOG_LINE_MAX];  // the beginning of a line whose end has not come yet
};

/** Opens the newest file and, with a buffer, starts the thread that empties it. 0, or -1 with errno. */
int log_open(struct log* log, const struct log_settings* settings);

/** Reads once and logs every whole line. 1 = there was something, 0 = nothing now, -1 = the stream has ended. */
int log_pump(struct log* log, struct log_stream* stream);

/** Logs what is left of a stream and closes it. */
void log_end(struct log* log, struct log_stream* stream);

/** Logs a line of our own, which ends in a newline, as if it came from stderr. True when it was taken. */
int log_say(struct log* log, const char* text);

/** Everything is on its way to the disk afterwards; no more lines follow. */
void log_close(struct log* log);

/** Gives the memory back that reading took: a quiet container's shim is small. True when there was some. */
int log_rest(struct log* log);
