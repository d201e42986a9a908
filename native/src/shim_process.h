// Starting covey-shim and understanding its answers; shared by the addon and covey-runtime.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fd.h"

namespace covey {

// A shim answers in milliseconds; only a hung disk takes longer, and then the caller must get an error, not wait for ever.
constexpr timeval kShimAnswerTimeout{.tv_sec = 60, .tv_usec = 0};
constexpr size_t kShimAnswerMax = 4096;
/** What each request on a shim's control socket begins with; native/shim/control.c has the language. */
constexpr char kShimLanguage[] = "covey 3 ";

/** A shim to be started: it gets nothing of ours but what is named here, and no environment. */
struct ShimSpawn {
  std::string path;
  std::vector<std::string> args;
  /** Become 3, 4, … in the shim; each must be Above() those numbers. */
  std::vector<int> fds;
  /** Hands our stdin, stdout and stderr on instead of /dev/null. */
  bool inherits_stdio = false;
  /** Become stdin, stdout and stderr; -1 = as `inherits_stdio` says. Each must be above 2. */
  std::array<int, 3> stdio{-1, -1, -1};
};

/** Gives the pid of a child of ours, which the caller reaps. Throws SysError. */
pid_t SpawnShim(const ShimSpawn& spawn);

/** Moves a descriptor out of the way of 3 to `last`, onto which dup2 would otherwise trample. */
Fd Above(Fd fd, int last = 4);

/** Both ends of a socket to a shim, SOCK_STREAM or SOCK_SEQPACKET; `theirs` becomes its descriptor 3. */
struct Door {
  Fd ours;
  Fd theirs;
};
Door MakeDoor(int last = 4, int type = SOCK_STREAM);

/** Sends a whole plan, in messages as the shim reads it. Throws SysError. */
void SendPlan(int fd, const std::string& plan);

/** Everything until the other side closes, at most kShimAnswerMax bytes. Throws SysError, ETIMEDOUT. */
std::string ReceiveAll(int fd);

/** The same, or until what has come ends in a newline: an answer of one that keeps its end open. */
std::string ReceiveAnswer(int fd);

/** The lines of an answer after "ok"; an "error" answer becomes the SysError it describes. */
std::vector<std::string> Understand(const std::string& text);

pid_t PidIn(const std::string& text);
uint64_t TicksIn(const std::string& text);

/**
 * Waits for a shim whose door was closed: one that cannot answer undoes its work and ends by itself; one that hangs is
 * ended, and its first process, which has it as parent, with it. Gives the signal by which somebody else killed it, or 0.
 */
int EndShim(pid_t shim);

}  // namespace covey
