// What every command needs, and the commands. Each gives the exit status of the program; failures are thrown.
#pragma once

#include <string>

#include "arguments.h"
#include "log.h"

namespace covey {

struct Runtime {
  std::string root;
  std::string shim;
  bool systemd_cgroup = false;
  Log log;
};

int Create(const Runtime& runtime, const Arguments& arguments);
int Start(const Runtime& runtime, const Arguments& arguments);
int Run(const Runtime& runtime, const Arguments& arguments);
int Exec(const Runtime& runtime, const Arguments& arguments);
int State(const Runtime& runtime, const Arguments& arguments);
int List(const Runtime& runtime, const Arguments& arguments);
int Kill(const Runtime& runtime, const Arguments& arguments);
int Delete(const Runtime& runtime, const Arguments& arguments);
int Pause(const Runtime& runtime, const Arguments& arguments);
int Resume(const Runtime& runtime, const Arguments& arguments);
int Update(const Runtime& runtime, const Arguments& arguments);
int Processes(const Runtime& runtime, const Arguments& arguments);
int Events(const Runtime& runtime, const Arguments& arguments);
int Features(const Runtime& runtime, const Arguments& arguments);
int Spec(const Runtime& runtime, const Arguments& arguments);

/** The one operand of a command about one container. Throws UsageError. */
std::string IdOf(const Arguments& arguments);

/** Writes all of it to stdout. Throws SysError. */
void Print(const std::string& text);

}  // namespace covey
