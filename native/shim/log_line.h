// One line as it is written: its time, its stream, its text, in either format (log.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "plan.h"

/** What lines of one reading have in common. */
struct line_shape {
  enum plan_log_format format;
  size_t head_bytes, tail_bytes;
  char whole[64];  // before a line that ends here
  char piece[64];  // before a piece of one; as long
  char tail[96];
};

/** Room for many lines, and for any one of them. */
#define LOG_BATCH_MAX (112u << 10)

/** The shape of lines of `stream` that are read at this moment. */
void line_shape_now(struct line_shape* shape, enum plan_log_format format, const char* stream);

/** The most bytes that a line of that length takes. */
size_t line_room(const struct line_shape* shape, size_t length);

/** Writes a line, which ends in a newline, or a piece of one, which does not. Gives the bytes written; the last of them is
 * a newline and no other. */
size_t line_put(const struct line_shape* shape, char* out, const char* text, size_t length);

/** As `line_put`, for the last line of a stream: it may lack its newline and is no piece of another. */
size_t line_put_last(const struct line_shape* shape, char* out, const char* text, size_t length);

/** At most `length`, less when a character of several bytes would be torn. */
size_t line_cut(const char* text, size_t length);

/** Writes `time` as RFC 3339 with nanoseconds and Z (30 characters, NUL). */
void log_time(char* out, int64_t seconds, long nanoseconds);
