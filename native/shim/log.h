// The container's log: each line with its time, stream and a mark, in files that rotate by size.
//
// A line is `2026-11-21T10:09:42.123456789Z stdout F text` (the format of Kubernetes' CRI): time of reading,
// stream, F for a line that ends here or P for a piece of one longer than 16 KiB. Source: CRI logging,
// kuberuntime/logs.
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define LOG_LINE_MAX 16384u

struct log_stream {
  int fd;  // the read end of the container's pipe; -1 once it has ended
  const char* name;
  size_t used;
  char text[LOG_LINE_MAX];
};

struct log_file {
  int fd;
  uint64_t size;
  uint64_t size_max;
  unsigned files;
  unsigned long long dropped;  // lines that no disk took
  char path[4096];
};

/** Opens the newest file for appending. 0, or -1 with errno. */
int log_open(struct log_file* file, const char* path, uint64_t size_max, unsigned files);

/** Reads once and writes every whole line. 1 = there was something, 0 = nothing now, -1 = the stream has
 * ended. */
int log_pump(struct log_file* file, struct log_stream* stream);

/** Writes `time` as RFC 3339 with nanoseconds and Z (30 characters, NUL). */
void log_time(char* out, int64_t seconds, long nanoseconds);

/** Writes what is left of a stream and closes it. */
void log_end(struct log_file* file, struct log_stream* stream);
