// The sync points of covey-shim-faults: see shim/fault.h.
#include "fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "COVEY_FAULT="
#define WORDS_MAX 96

static char words[WORDS_MAX];
static const char* wanted = "";
static const char* action = "";
static int error;
static int passings_left = 1;

/** "POINT#TIME:ACTION:ERRNO" in place. */
static void understand(const char* text) {
  if (strlen(text) >= WORDS_MAX) return;
  memcpy(words, text, strlen(text) + 1);
  char* colon = strchr(words, ':');
  if (!colon) return;
  *colon = '\0';
  char* time = strchr(words, '#');
  if (time) {
    *time = '\0';
    passings_left = (int)strtol(time + 1, NULL, 10);
  }
  action = colon + 1;
  char* second = strchr(colon + 1, ':');
  if (second) {
    *second = '\0';
    error = (int)strtol(second + 1, NULL, 10);
  }
  wanted = words;
}

void fault_read(struct plan plan) {
  struct plan_record record;
  while (plan_next(&plan, &record) == 1) {
    if (record.op != PLAN_ENV) continue;
    for (const char* at = plan_each(&record.field[0], NULL); at; at = plan_each(&record.field[0], at)) {
      if (strncmp(at, VARIABLE, sizeof VARIABLE - 1) == 0) understand(at + sizeof VARIABLE - 1);
    }
  }
}

int fault_at(const char* point, struct failure* failure) {
  if (strcmp(point, wanted) != 0 || --passings_left != 0) return 0;
  // The first process of a pid namespace takes no signal of its own but one for a fault.
  if (strcmp(action, "die") == 0 && getpid() == 1) __builtin_trap();
  if (strcmp(action, "die") == 0) kill(getpid(), SIGKILL);
  if (strcmp(action, "stop") == 0) kill(getpid(), SIGSTOP);
  if (strcmp(action, "errno") == 0) return failed_as(failure, error, "at a sync point", "fault", point);
  return 0;
}
