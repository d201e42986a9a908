#include "connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

// A connection older than this is closed behind its next answer, so that the clients of a replica that leaves move on;
// always at a request's end, so that nothing is lost.
enum { KEEP_ALIVE_MS = 1000, IDLE_MS = 30000, LINGER_MS = 2000, DELAY_MAX_MS = 60000 };

static bool has_header(const char* head, const char* line) {
  const size_t size = strlen(line);
  for (const char* at = strstr(head, "\r\n"); at != NULL; at = strstr(at + 2, "\r\n")) {
    if (strncasecmp(at + 2, line, size) == 0) return true;
  }
  return false;
}

static void compose(struct connection* c, const char* status, const char* body, bool with_body) {
  const size_t size = strlen(body);
  const int written =
      snprintf(c->reply, sizeof c->reply,
               "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s",
               status, size, c->close_after ? "close" : "keep-alive", with_body ? body : "");
  c->reply_size = written < (int)sizeof c->reply ? (size_t)written : sizeof c->reply - 1;
  c->reply_sent = 0;
}

static int64_t delay_of(const char* path) {
  const char* ms = strstr(path, "?ms=");
  if (ms == NULL) return 0;
  const long wanted = strtol(ms + 4, NULL, 10);
  return wanted < 0 ? 0 : wanted > DELAY_MAX_MS ? DELAY_MAX_MS : wanted;
}

/** Composes the answer to the request whose head ends before `end`. */
static void answer(struct connection* c, const struct site* site, int64_t now_ms, char* end) {
  *end = '\0';
  char method[8] = "", path[256] = "", protocol[16] = "";
  const int words = sscanf(c->request, "%7s %255s %15s", method, path, protocol);
  const bool head = strcmp(method, "HEAD") == 0;
  // A body would have to be read before the next request; nobody sends one here.
  c->close_after = now_ms - c->opened_ms >= KEEP_ALIVE_MS || strcmp(protocol, "HTTP/1.1") != 0 ||
                   has_header(c->request, "connection: close") || has_header(c->request, "content-length:") ||
                   has_header(c->request, "transfer-encoding:");
  c->reply_at_ms = now_ms + delay_of(path);
  char body[512];
  path[strcspn(path, "?")] = '\0';
  if (words != 3) {
    c->close_after = true;
    compose(c, "400 Bad Request", "this is not HTTP\n", true);
  } else if (!head && strcmp(method, "GET") != 0) {
    c->close_after = true;
    compose(c, "405 Method Not Allowed", "only GET and HEAD\n", true);
  } else if (strcmp(path, "/healthz") == 0) {
    const bool sick = now_ms >= site->sick_at_ms;
    compose(c, sick ? "500 Internal Server Error" : "200 OK", sick ? "sick\n" : "ok\n", !head);
  } else if (strcmp(path, "/") == 0) {
    snprintf(body, sizeof body, "hostname: %s\nversion: %s\nclient: %s\n", site->hostname, site->version,
             c->client);
    compose(c, "200 OK", body, !head);
  } else {
    compose(c, "404 Not Found", "nothing here; try /\n", !head);
  }
}

static bool take_request(struct connection* c, const struct site* site, int64_t now_ms) {
  c->request[c->got] = '\0';
  char* end = strstr(c->request, "\r\n\r\n");
  if (end == NULL) {
    if (c->got < REQUEST_MAX - 1) return false;
    c->close_after = true;
    compose(c, "431 Request Header Fields Too Large", "too long\n", true);
    c->reply_at_ms = now_ms;
    c->got = 0;
    return true;
  }
  answer(c, site, now_ms, end);
  const size_t used = (size_t)(end + 4 - c->request);
  memmove(c->request, c->request + used, c->got - used);
  c->got -= used;
  return true;
}

/** 1: all sent; 0: the socket is full; -1: it is broken. */
static int send_reply(struct connection* c) {
  while (c->reply_sent < c->reply_size) {
    const ssize_t sent = send(c->fd, c->reply + c->reply_sent, c->reply_size - c->reply_sent, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    c->reply_sent += (size_t)sent;
  }
  c->reply_size = 0;
  c->reply_at_ms = 0;
  return 1;
}

/** False at the client's end or a broken socket. */
static bool fill(struct connection* c, int64_t now_ms) {
  char dropped[1024];
  for (;;) {
    char* to = c->closing ? dropped : c->request + c->got;
    const size_t room = c->closing ? sizeof dropped : REQUEST_MAX - 1 - c->got;
    if (room == 0) return true;
    const ssize_t got = recv(c->fd, to, room, 0);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (!c->closing) c->got += (size_t)got;
    if (!c->closing) c->used_ms = now_ms;
  }
}

bool connection_advance(struct connection* c, const struct site* site, int64_t now_ms, bool readable) {
  if (readable && !fill(c, now_ms)) return false;
  while (!c->closing) {
    if (c->reply_size == 0 && !take_request(c, site, now_ms)) break;
    if (c->reply_at_ms > now_ms) return true;
    const int sent = send_reply(c);
    if (sent < 0) return false;
    c->blocked = sent == 0;
    if (c->blocked) break;
    c->used_ms = now_ms;
    if (c->close_after) {
      // Closing at once could answer bytes on their way with a reset, which would eat the answer.
      shutdown(c->fd, SHUT_WR);
      c->closing = true;
    }
    // The edge that told of more bytes may have passed while there was no room for them.
    if (!fill(c, now_ms)) return false;
  }
  return now_ms < connection_deadline(c);
}

int64_t connection_deadline(const struct connection* c) {
  if (c->closing) return c->used_ms + LINGER_MS;
  if (c->reply_size > 0 && !c->blocked) return c->reply_at_ms;
  return c->used_ms + IDLE_MS;
}
