// Small things that all code about cgroups needs: files that may be missing, names, and waiting.
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <sstream>
#include <string>
#include <vector>

#include "process.h"
#include "sys_error.h"

namespace covey {

inline std::vector<std::string> SplitText(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

inline bool PathExists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

/** False when the kernel refuses, with errno. */
inline bool TryWriteFile(const std::string& path, const std::string& text) {
  try {
    WriteSmallFile(path, text);
    return true;
  } catch (const SysError& e) {
    errno = e.error();
    return false;
  }
}

/** "" when it is not there. */
inline std::string TryReadFile(const std::string& path) {
  try {
    return ReadSmallFile(path);
  } catch (const SysError&) {
    return "";
  }
}

/** Names of the folders in a folder; none when it is not there. */
inline std::vector<std::string> FoldersIn(const std::string& folder) {
  std::vector<std::string> names;
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_type == DT_DIR && entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  closedir(dir);
  return names;
}

/** Between two looks at something that the kernel does by itself in microseconds. */
inline void PauseBriefly() {
  const timespec pause{.tv_sec = 0, .tv_nsec = 2'000'000};
  nanosleep(&pause, nullptr);
}

/** SIGKILL to every process listed in a cgroup's folder and below it; gives how many there were. */
int KillBelow(const std::string& folder);

}  // namespace covey
