// A container made from a bundle, up to the point where its first process waits; and its start.
#pragma once

#include <string>

#include "../src/fd.h"
#include "record.h"
#include "runtime.h"

namespace covey {

struct MakeOptions {
  std::string id;
  std::string bundle;
  std::string pid_file;
  /** The connected socket the terminal's master goes to; empty without a terminal. */
  Fd console;
  /** Descriptors from 3 on that the container's process gets. */
  unsigned preserved = 0;
};

/** `bundle`/config.json. Throws UsageError, SysError. */
std::string ReadConfigText(const std::string& bundle);

/**
 * Makes the container; afterwards its record says "created". On failure nothing is left of it, and poststop hooks have
 * run when others had. Throws UsageError, InvalidInput, SysError.
 */
Record MakeContainer(const Runtime& runtime, const std::string& config_text, MakeOptions options);

/** Lets the process run, then runs poststart hooks. Throws UsageError when it is not created, SysError. */
void StartMade(const Runtime& runtime, const Record& record);

/** Removes what there is of a container whose processes are dead or may die, and runs its poststop hooks. */
void RemoveMade(const Runtime& runtime, const Record& record);

/** Writes a pid for callers that asked for it. Throws SysError. */
void WritePidFile(const std::string& path, pid_t pid);

/** Our descriptors from 3 on, out of the way of the shim's own places up to `last`. Throws UsageError for a closed one. */
std::vector<Fd> Preserved(unsigned count, int last);

/** --preserve-fds and the service manager's LISTEN_FDS. Throws UsageError. */
unsigned PreservedCount(const Arguments& arguments);

}  // namespace covey
