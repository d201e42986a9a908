// covey-shim --template: the process that an agent's shims are copied from. Nothing has to be loaded, relocated or paged in for a
// copy, and no thread of the agent stands still meanwhile. It ends with the socket on its descriptor 3, SEQPACKET: in come
// requests, each with one descriptor, the door of a shim to be; out go replies, in their order.
#pragma once

#include <stdint.h>

#define TEMPLATE_ID_MAX 64
/** Which of its arguments is only there to have room for an id. */
#define TEMPLATE_ROOM 2
/** template_main in the copy: go on as a shim. */
#define TEMPLATE_COPY (-1)

struct template_request {
  uint64_t ticket;
  char id[TEMPLATE_ID_MAX];  // for people who look at ps; with a NUL unless it is full
};

struct template_reply {
  uint64_t ticket;
  int32_t pid;    // like the template's own a child of the agent
  int32_t error;  // or why there is none
};

#ifdef __cplusplus
extern "C" {
#endif

/** `argv` as main has it. The exit status, or TEMPLATE_COPY. */
int template_main(char** argv);

#ifdef __cplusplus
}
#endif
