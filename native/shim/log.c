#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "log_line.h"
#include "log_ring.h"

// All that a pipe holds at the kernel's default size: one read takes what the container wrote since the last.
#define READ_MAX (64u << 10)

// One of each, for both streams: memory that is touched only while there is output, and given back by log_rest.
static _Alignas(4096) char window[LOG_LINE_MAX + READ_MAX];
static _Alignas(4096) char lines[LOG_BATCH_MAX];
static int is_touched;

int log_open(struct log* log, const struct log_settings* settings) {
  log->format = settings->format;
  if (log->format == LOG_NONE) return 0;
  if (log_file_open(&log->file, settings->path, settings->size_max, settings->files) != 0) return -1;
  if (settings->buffer == 0) return 0;
  log->ring = log_ring_open(&log->file, settings->buffer);
  return log->ring == NULL ? -1 : 0;
}

int log_say(struct log* log, const char* text) {
  char line[4096];
  struct line_shape shape;
  size_t length = strlen(text);
  line_shape_now(&shape, log->format, "stderr");
  if (log->format == LOG_NONE || line_room(&shape, length) > sizeof line) return 0;
  size_t bytes = line_put(&shape, line, text, length);
  if (log->ring != NULL) return log_ring_put(log->ring, line, bytes) == bytes;
  log_file_put(&log->file, line, bytes);
  return __atomic_exchange_n(&log->file.dropped, 0, __ATOMIC_RELAXED) == 0;
}

static int mention(struct log* log, unsigned long long dropped, const char* why) {
  char text[96];
  snprintf(text, sizeof text, "covey: %llu lines were lost: %s\n", dropped, why);
  return log_say(log, text);
}

static void mention_all(struct log* log) {
  unsigned long long dropped = __atomic_exchange_n(&log->file.dropped, 0, __ATOMIC_RELAXED);
  if (dropped > 0 && !mention(log, dropped, "the disk took no more"))
    __atomic_add_fetch(&log->file.dropped, dropped, __ATOMIC_RELAXED);
  if (log->dropped > 0 && mention(log, log->dropped, "the log's buffer was full")) log->dropped = 0;
}

/** To the disk, or to those that wait for it. */
static void hand_over(struct log* log, size_t bytes) {
  mention_all(log);
  if (log->ring == NULL) {
    log_file_put(&log->file, lines, bytes);
    return;
  }
  // While a loss is not mentioned nothing goes by it: the gap is where it is said to be.
  size_t taken = log->dropped > 0 ? 0 : log_ring_put(log->ring, lines, bytes);
  for (const char *at = lines + taken, *end = lines + bytes; at < end; log->dropped++)
    at = (const char*)memchr(at, '\n', (size_t)(end - at)) + 1;
}

/** Logs the lines at the front of `text`, whole ones and pieces of those too long; all of it when `everything`. Gives the
 * bytes used. */
static size_t log_lines(struct log* log, const char* name, const char* text, size_t length, int everything) {
  struct line_shape shape;
  size_t at = 0, used = 0;
  line_shape_now(&shape, log->format, name);
  while (at < length) {
    size_t left = length - at;
    const char* newline = memchr(text + at, '\n', left);
    size_t line = newline == NULL ? left : (size_t)(newline - text) - at + 1;
    if (newline == NULL && line <= LOG_LINE_MAX && !everything) break;
    if (line > LOG_LINE_MAX) line = line_cut(text + at, LOG_LINE_MAX);
    if (used + line_room(&shape, line) > sizeof lines) {
      hand_over(log, used);
      used = 0;
    }
    int is_end = everything && at + line == length;
    used += is_end ? line_put_last(&shape, lines + used, text + at, line)
                   : line_put(&shape, lines + used, text + at, line);
    at += line;
  }
  if (used > 0) hand_over(log, used);
  return at;
}

void log_end(struct log* log, struct log_stream* stream) {
  if (stream->used > 0 && log->format != LOG_NONE)
    log_lines(log, stream->name, stream->rest, stream->used, 1);
  stream->used = 0;
  close(stream->fd);
  stream->fd = -1;
}

int log_pump(struct log* log, struct log_stream* stream) {
  is_touched = 1;
  memcpy(window, stream->rest, stream->used);
  ssize_t n = read(stream->fd, window + stream->used, READ_MAX);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (n <= 0) {
    log_end(log, stream);
    return -1;
  }
  if (stream->taps != NULL) taps_give(stream->taps, stream->number, window + stream->used, (size_t)n);
  if (log->format == LOG_NONE) return 1;
  size_t length = stream->used + (size_t)n;
  size_t used = log_lines(log, stream->name, window, length, 0);
  stream->used = length - used;
  memcpy(stream->rest, window + used, stream->used);
  return 1;
}

void log_close(struct log* log) {
  if (log->format == LOG_NONE) return;
  if (log->ring != NULL) {
    log_ring_close(log->ring);
    log->ring = NULL;
  }
  mention_all(log);
}

int log_rest(struct log* log) {
  if (!is_touched) return 0;
  is_touched = 0;
  madvise(window, sizeof window, MADV_DONTNEED);
  madvise(lines, sizeof lines, MADV_DONTNEED);
  if (log->ring != NULL) log_ring_rest(log->ring);
  return 1;
}
