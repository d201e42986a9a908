// The caller's side of a terminal: where its master goes, or, in the foreground, bytes between it and our own stdio.
#pragma once

#include <string>

#include "../src/fd.h"

namespace covey {

/** A connection to the caller's --console-socket. Throws SysError. */
Fd ConnectConsole(const std::string& path);

struct ConsolePair {
  Fd ours;
  Fd theirs;
};
/** A socket of our own to receive the master on. */
ConsolePair MakeConsolePair();

/** The master that was sent. Throws SysError. */
Fd ReceiveMaster(const Fd& socket);

/** The exit status of our child `pid`, 128 + signal when killed. Meanwhile signals are passed on to it; with a master the
 * terminal's bytes and size are, and our own terminal is raw until the end. */
int WaitInForeground(int pid, Fd master);

}  // namespace covey
