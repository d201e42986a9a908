#include "request.h"

#include <stdlib.h>
#include <string.h>

struct request request_read(char* text) {
  struct request request = {.version = 0, .verb = "", .number = 0, .second = 0};
  if (strncmp(text, "covey ", 6) != 0) return request;
  char* at = text + 6;
  request.version = strtol(at, &at, 10);
  at += strspn(at, " ");
  request.verb = at;
  at += strcspn(at, " \n");
  if (*at) {
    *at++ = '\0';
    request.number = (int)strtol(at, &at, 10);
    request.second = (int)strtol(at, NULL, 10);
  }
  return request;
}
