#include "log_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define JSON_HEAD "{\"log\":\""
// "\u00XX" for one byte.
#define ESCAPED_MAX 6u

void log_time(char* out, int64_t seconds, long nanoseconds) {
  time_t t = (time_t)seconds;
  struct tm tm;
  gmtime_r(&t, &tm);
  snprintf(out, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
           tm.tm_hour, tm.tm_min, tm.tm_sec, nanoseconds);
}

void line_shape_now(struct line_shape* shape, enum plan_log_format format, const char* stream) {
  char stamp[40];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  log_time(stamp, now.tv_sec, now.tv_nsec);
  shape->format = format;
  shape->tail_bytes = 0;
  if (format == LOG_JSON) {
    shape->head_bytes = sizeof JSON_HEAD - 1;
    shape->tail_bytes = (size_t)snprintf(shape->tail, sizeof shape->tail,
                                         "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream, stamp);
    return;
  }
  shape->head_bytes = (size_t)snprintf(shape->whole, sizeof shape->whole, "%s %s F ", stamp, stream);
  snprintf(shape->piece, sizeof shape->piece, "%s %s P ", stamp, stream);
}

size_t line_room(const struct line_shape* shape, size_t length) {
  return shape->head_bytes + shape->tail_bytes +
         (shape->format == LOG_JSON ? ESCAPED_MAX * length : length + 1);
}

static size_t put_text(char* out, const char* head, size_t head_bytes, const char* text, size_t length) {
  memcpy(out, head, head_bytes);
  memcpy(out + head_bytes, text, length);
  size_t used = head_bytes + length;
  if (text[length - 1] != '\n') out[used++] = '\n';
  return used;
}

/** Bytes of the character at the front, 0 when it is none. Source: RFC 3629, section 4. */
static size_t character(const unsigned char* at, size_t left) {
  unsigned char low = 0x80, high = 0xBF;
  size_t size = at[0] < 0x80   ? 1
                : at[0] < 0xC2 ? 0
                : at[0] < 0xE0 ? 2
                : at[0] < 0xF0 ? 3
                : at[0] < 0xF5 ? 4
                               : 0;
  if (size == 0 || size > left) return 0;
  if (at[0] == 0xE0) low = 0xA0;
  if (at[0] == 0xED) high = 0x9F;
  if (at[0] == 0xF0) low = 0x90;
  if (at[0] == 0xF4) high = 0x8F;
  for (size_t i = 1; i < size; i++, low = 0x80, high = 0xBF) {
    if (at[i] < low || at[i] > high) return 0;
  }
  return size;
}

/** True for what stands in a JSON text as it is. As in Go's encoder, HTML's own characters do not. */
static int is_plain(unsigned char c) {
  return c >= 0x20 && c < 0x7F && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static size_t escape(char* out, unsigned char c) {
  static const char digits[] = "0123456789abcdef";
  static const char named[] = "\"\"\\\\\nn\rr\tt";
  for (const char* pair = named; *pair; pair += 2) {
    if ((unsigned char)*pair != c) continue;
    out[0] = '\\';
    out[1] = pair[1];
    return 2;
  }
  static const char start[4] = {'\\', 'u', '0', '0'};
  memcpy(out, start, sizeof start);
  out[4] = digits[c >> 4];
  out[5] = digits[c & 15];
  return ESCAPED_MAX;
}

static size_t put_json(const struct line_shape* shape, char* out, const char* text, size_t length) {
  const unsigned char* at = (const unsigned char*)text;
  const unsigned char* end = at + length;
  char* to = out + shape->head_bytes;
  memcpy(out, JSON_HEAD, shape->head_bytes);
  while (at < end) {
    if (is_plain(*at)) {
      *to++ = (char)*at++;
    } else if (*at < 0x80) {
      to += escape(to, *at++);
    } else {
      size_t size = character(at, (size_t)(end - at));
      memcpy(to, size == 0 ? "\xEF\xBF\xBD" : (const char*)at, size == 0 ? 3 : size);
      to += size == 0 ? 3 : size;
      at += size == 0 ? 1 : size;
    }
  }
  memcpy(to, shape->tail, shape->tail_bytes);
  return (size_t)(to - out) + shape->tail_bytes;
}

size_t line_put(const struct line_shape* shape, char* out, const char* text, size_t length) {
  if (shape->format == LOG_JSON) return put_json(shape, out, text, length);
  const char* head = text[length - 1] == '\n' ? shape->whole : shape->piece;
  return put_text(out, head, shape->head_bytes, text, length);
}

size_t line_put_last(const struct line_shape* shape, char* out, const char* text, size_t length) {
  if (shape->format == LOG_JSON) return put_json(shape, out, text, length);
  return put_text(out, shape->whole, shape->head_bytes, text, length);
}

size_t line_cut(const char* text, size_t length) {
  size_t at = length;
  while (at > 0 && length - at < 3 && ((unsigned char)text[at] & 0xC0) == 0x80) at--;
  return at > 0 && ((unsigned char)text[at] & 0xC0) != 0x80 ? at : length;
}
