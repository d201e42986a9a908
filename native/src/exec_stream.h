// A command in a container whose streams are its caller's: pipes, or a terminal.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "container.h"
#include "fd.h"

namespace covey {

/** A command that runs. Our ends of its streams; those that it does not have are empty. */
struct ExecStream {
  /** Answers with its end; closing our side for writing ends the command and all it has started. */
  Fd door;
  pid_t helper = 0;
  /** In the host's numbering. */
  pid_t pid = 0;
  Fd in;
  Fd out;
  Fd err;
  /** Both directions of a terminal; then there are no others. */
  Fd terminal;
  /** What the door has already said after the start. */
  std::string said;
};

/**
 * Runs a command in the container whose first process is (pid, start_time); returns when exec has succeeded.
 * `options.stream` is set. Without `has_stdin` the command reads /dev/null. A detached command has no streams at all.
 * Throws SysError with the step that failed, ESRCH when the container is gone, InvalidInput.
 */
ExecStream StartExecStream(pid_t pid, uint64_t start_time, const std::string& config, ExecOptions options,
                           bool has_stdin, const std::string& shim_path);

/** Tells the helper behind `door` a new size of the terminal. A helper that is gone is no matter. */
void ResizeExecStream(int door, uint16_t rows, uint16_t columns);

/** The command goes on when its caller goes; what its terminal says from now on is dropped. */
void DetachExecStream(int door);

/** Sends the command a signal, by its helper. A helper that is gone is no matter. */
void SignalExecStream(int door, uint16_t number);

/** The host's id of a container's, by the text of its uid_map. Throws InvalidInput when it has none. Source:
 * user_namespaces(7). */
uint32_t HostUidIn(const std::string& uid_map, uint32_t uid);

/** The exit code in all that the door has said: 128 + signal when killed by one. Throws SysError EPROTO. */
int ExitCodeIn(const std::string& said);

/** Bytes that wait to be read. Source: ioctl_pipe(2), FIONREAD. */
int WaitingBytes(int fd);

}  // namespace covey
