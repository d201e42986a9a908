#include "modes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { TICK_NS = 10000000, WORDS_MAX = 64, BATCH_MAX = 65536 };

uint16_t server_port(void) {
  const char* port = getenv("PORT");
  const int number = port == NULL ? 80 : atoi(port);
  return number > 0 && number < 65536 ? (uint16_t)number : 80;
}

int check(void) {
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(server_port())};
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const struct timeval patience = {.tv_sec = 5};
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (connect(fd, (struct sockaddr*)&here, sizeof here) < 0 || write(fd, request, sizeof request - 1) < 0) {
    printf("check: %s\n", strerror(errno));
    return 1;
  }
  char reply[1024];
  const ssize_t got = read(fd, reply, sizeof reply - 1);
  reply[got < 0 ? 0 : got] = '\0';
  const int well = strncmp(reply, "HTTP/1.1 200", 12) == 0;
  printf("check: %s\n", well ? "ok" : "sick");
  return well ? 0 : 1;
}

static int write_all(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t wrote = write(1, text, size);
    if (wrote < 0 && errno != EINTR) return -1;
    if (wrote > 0) {
      text += wrote;
      size -= (size_t)wrote;
    }
  }
  return 0;
}

int lines(int per_second) {
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  unsigned long long printed = 0;
  for (unsigned long long tick = 1;; tick++) {
    static char batch[BATCH_MAX];
    size_t size = 0;
    const unsigned long long due = tick * (unsigned long long)per_second / (1000000000 / TICK_NS);
    while (printed < due) {
      size += (size_t)snprintf(batch + size, sizeof batch - size, "line %llu\n", ++printed);
      if (size < BATCH_MAX - 64 && printed < due) continue;
      if (write_all(batch, size) < 0) return 1;
      size = 0;
    }
    next.tv_nsec += TICK_NS;
    if (next.tv_nsec >= 1000000000) {
      next.tv_nsec -= 1000000000;
      next.tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
  }
}

int shell(int argc, char** argv) {
  if (argc < 3 || strcmp(argv[1], "-c") != 0) {
    fprintf(stderr, "sh: only -c is known here\n");
    return 2;
  }
  char* words[WORDS_MAX + 1];
  int count = 0;
  for (char* word = strtok(argv[2], " \t\n"); word != NULL && count < WORDS_MAX;
       word = strtok(NULL, " \t\n")) {
    words[count++] = word;
  }
  words[count] = NULL;
  if (count == 0 || strcmp(words[0], "true") == 0) return 0;
  if (strcmp(words[0], "false") == 0) return 1;
  if (strcmp(words[0], "exit") == 0) return count > 1 ? atoi(words[1]) : 0;
  if (strcmp(words[0], "exec") == 0 && count > 1) execvp(words[1], words + 1);
  execvp(words[0], words);
  fprintf(stderr, "sh: %s: %s\n", words[0], strerror(errno));
  return errno == ENOENT ? 127 : 126;
}
