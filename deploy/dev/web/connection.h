// One HTTP/1.1 connection of the demo server.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_MAX = 8192, REPLY_MAX = 1024 };

/** What the answers say. */
struct site {
  const char* hostname;
  const char* version;
  /** From then on /healthz says 500; INT64_MAX: never. */
  int64_t sick_at_ms;
};

struct connection {
  int fd;
  char client[INET_ADDRSTRLEN];
  int64_t opened_ms;
  int64_t used_ms;
  /** The answer is due then; 0: none waits. */
  int64_t reply_at_ms;
  size_t got;
  size_t reply_size;
  size_t reply_sent;
  /** Nothing more is answered; what the client still sends is read and dropped until it closes. */
  bool closing;
  bool close_after;
  /** The socket takes no more of the reply at present. */
  bool blocked;
  char request[REQUEST_MAX];
  char reply[REPLY_MAX];
};

/**
 * Reads, answers and writes as far as it goes without waiting. False: close it.
 * `readable`: the socket may have bytes.
 */
bool connection_advance(struct connection* c, const struct site* site, int64_t now_ms, bool readable);

/** When it has to be advanced without the socket's doing; INT64_MAX: never. */
int64_t connection_deadline(const struct connection* c);
