// A server and client small enough to be a container in tests.
//   peer serve ID PORT            TCP and UDP: greets with "ID ADDRESS" of the caller, then echoes
//   peer ask ADDRESS PORT [N [udp]]   N calls one after another, a line each: the greeting, or what went wrong
//   peer hold ADDRESS PORT [udp]  one connection: the greeting, then an answer per line of input
//   peer swallow ID PORT          TCP: takes one connection and whatever comes by it
//   peer flood ADDRESS PORT MS    one TCP connection: sends as fast as it can for so long
//   peer meter LINK MS            bits a second that LINK received and sent in that time
//   peer spoof SOURCE ADDRESS PORT    sends one UDP packet with another's source address
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kClientsMax = 64, kWaitSeconds = 2 };

static struct sockaddr_in Address(const char* text, const char* port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  if (inet_pton(AF_INET, text, &address.sin_addr) != 1) exit(2);
  return address;
}

static int Greeting(char* line, size_t size, const char* id, const struct sockaddr_in* from) {
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &from->sin_addr, text, sizeof text);
  return snprintf(line, size, "%s %s\n", id, text);
}

static int Listen(int type, const char* port) {
  struct sockaddr_in any = Address("0.0.0.0", port);
  int on = 1;
  int fd = socket(AF_INET, type, 0);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr*)&any, sizeof any) != 0) exit(3);
  if (type == SOCK_STREAM && listen(fd, kClientsMax) != 0) exit(3);
  return fd;
}

static void Serve(const char* id, const char* port) {
  struct pollfd fds[kClientsMax + 2] = {{.fd = Listen(SOCK_STREAM, port), .events = POLLIN},
                                        {.fd = Listen(SOCK_DGRAM, port), .events = POLLIN}};
  int count = 2;
  puts("ready");
  fflush(stdout);
  for (;;) {
    poll(fds, (nfds_t)count, -1);
    char bytes[512];
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    if (fds[0].revents != 0 && count < kClientsMax + 2) {
      int client = accept(fds[0].fd, (struct sockaddr*)&from, &size);
      if (client >= 0) {
        send(client, bytes, (size_t)Greeting(bytes, sizeof bytes, id, &from), MSG_NOSIGNAL);
        fds[count++] = (struct pollfd){.fd = client, .events = POLLIN};
      }
    }
    if (fds[1].revents != 0 &&
        recvfrom(fds[1].fd, bytes, sizeof bytes, 0, (struct sockaddr*)&from, &size) >= 0) {
      sendto(fds[1].fd, bytes, (size_t)Greeting(bytes, sizeof bytes, id, &from), 0, (struct sockaddr*)&from,
             size);
    }
    for (int i = count - 1; i >= 2; i--) {
      if (fds[i].revents == 0) continue;
      ssize_t got = recv(fds[i].fd, bytes, sizeof bytes, 0);
      if (got > 0) {
        send(fds[i].fd, bytes, (size_t)got, MSG_NOSIGNAL);
      } else {
        close(fds[i].fd);
        fds[i] = fds[--count];
      }
    }
  }
}

static int Open(int type, const struct sockaddr_in* to) {
  struct timeval wait = {.tv_sec = kWaitSeconds};
  int fd = socket(AF_INET, type, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (connect(fd, (const struct sockaddr*)to, sizeof *to) == 0) return fd;
  int error = errno;
  close(fd);
  errno = error;
  return -1;
}

static const char* Trouble(void) {
  if (errno == ECONNREFUSED) return "refused";
  if (errno == EAGAIN || errno == EINPROGRESS || errno == ETIMEDOUT) return "timeout";
  if (errno == EHOSTUNREACH || errno == ENETUNREACH) return "unreachable";
  return strerror(errno);
}

static void AskOnce(int type, const struct sockaddr_in* to) {
  char line[512];
  int fd = Open(type, to);
  ssize_t got = -1;
  if (fd >= 0 && (type == SOCK_STREAM || send(fd, "?", 1, 0) == 1)) got = recv(fd, line, sizeof line, 0);
  if (got > 0)
    fwrite(line, 1, (size_t)got, stdout);
  else
    puts(got == 0 ? "closed" : Trouble());
  if (fd >= 0) close(fd);
}

static void Hold(int type, const struct sockaddr_in* to) {
  char line[512];
  int fd = Open(type, to);
  if (fd < 0) {
    puts(Trouble());
    exit(1);
  }
  if (type == SOCK_DGRAM) send(fd, "?", 1, 0);
  for (;;) {
    ssize_t got = recv(fd, line, sizeof line, 0);
    if (got > 0)
      fwrite(line, 1, (size_t)got, stdout);
    else
      puts(got == 0 ? "closed" : Trouble());
    fflush(stdout);
    if (got <= 0 || fgets(line, sizeof line, stdin) == NULL) break;
    send(fd, line, strlen(line), MSG_NOSIGNAL);
  }
  close(fd);
}

static void Swallow(const char* port) {
  static char bytes[1 << 16];
  int listener = Listen(SOCK_STREAM, port);
  puts("ready");
  int client = accept(listener, NULL, NULL);
  while (recv(client, bytes, sizeof bytes, 0) > 0) continue;
}

static void Flood(const struct sockaddr_in* to, int ms) {
  static char bytes[1 << 16];
  struct timespec now;
  int fd = Open(SOCK_STREAM, to);
  if (fd < 0) {
    puts(Trouble());
    exit(1);
  }
  puts("sending");
  clock_gettime(CLOCK_MONOTONIC, &now);
  for (const long long end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + ms;
       now.tv_sec * 1000LL + now.tv_nsec / 1000000 < end; clock_gettime(CLOCK_MONOTONIC, &now)) {
    if (send(fd, bytes, sizeof bytes, MSG_NOSIGNAL) < 0) exit(1);
  }
}

/** The moment in nanoseconds, and what /proc/net/dev says of the link then. */
static long long Counters(const char* link, double* received, double* sent) {
  struct timespec now;
  char line[512];
  FILE* devices = fopen("/proc/net/dev", "r");
  clock_gettime(CLOCK_MONOTONIC, &now);
  while (devices != NULL && fgets(line, sizeof line, devices) != NULL) {
    char* colon = strchr(line, ':');
    if (colon == NULL) continue;
    *colon = '\0';
    if (strcmp(line + strspn(line, " "), link) == 0)
      sscanf(colon + 1, "%lf %*s %*s %*s %*s %*s %*s %*s %lf", received, sent);
  }
  if (devices != NULL) fclose(devices);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void Meter(const char* link, int ms) {
  double received = -1, sent = -1, received_later = -1, sent_later = -1;
  struct timespec end;
  long long from = Counters(link, &received, &sent);
  clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_sec += ms / 1000;
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
  double nanos = (double)(Counters(link, &received_later, &sent_later) - from);
  printf("%.0f %.0f\n", (received_later - received) * 8e9 / nanos, (sent_later - sent) * 8e9 / nanos);
}

static void Spoof(const char* source, const struct sockaddr_in* to) {
  struct {
    struct iphdr ip;
    struct udphdr udp;
    char body;
  } __attribute__((packed)) packet = {
      .ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(sizeof packet)},
      .udp = {.source = htons(4242), .dest = to->sin_port, .len = htons(sizeof(struct udphdr) + 1)},
      .body = '?'};
  inet_pton(AF_INET, source, &packet.ip.saddr);
  packet.ip.daddr = to->sin_addr.s_addr;
  int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  puts(sendto(fd, &packet, sizeof packet, 0, (const struct sockaddr*)to, sizeof *to) < 0 ? Trouble()
                                                                                         : "sent");
}

int main(int argc, char** argv) {
  // Nothing of a test outlives it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc < 4) return 2;
  if (strcmp(argv[1], "serve") == 0) {
    Serve(argv[2], argv[3]);
  } else if (strcmp(argv[1], "ask") == 0) {
    struct sockaddr_in to = Address(argv[2], argv[3]);
    for (int left = argc > 4 ? atoi(argv[4]) : 1; left > 0; left--)
      AskOnce(argc > 5 ? SOCK_DGRAM : SOCK_STREAM, &to);
  } else if (strcmp(argv[1], "hold") == 0) {
    struct sockaddr_in to = Address(argv[2], argv[3]);
    Hold(argc > 4 ? SOCK_DGRAM : SOCK_STREAM, &to);
  } else if (strcmp(argv[1], "meter") == 0) {
    Meter(argv[2], atoi(argv[3]));
  } else if (strcmp(argv[1], "swallow") == 0) {
    Swallow(argv[3]);
  } else if (strcmp(argv[1], "flood") == 0 && argc > 4) {
    struct sockaddr_in to = Address(argv[2], argv[3]);
    Flood(&to, atoi(argv[4]));
  } else if (strcmp(argv[1], "spoof") == 0 && argc > 4) {
    struct sockaddr_in to = Address(argv[3], argv[4]);
    Spoof(argv[2], &to);
  }
  return 0;
}
