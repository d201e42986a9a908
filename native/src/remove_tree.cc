#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "layer.h"
#include "sys_error.h"

namespace covey {
namespace {

// Deeper folders are moved up to the top and removed from there: images can nest deeper than descriptors or the stack
// last.
constexpr int kDepthMax = 64;

std::vector<std::string> NamesIn(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw SysError{errno, "dup"};
  std::unique_ptr<DIR, int (*)(DIR*)> dir{fdopendir(copy), closedir};
  if (!dir) {
    const int error = errno;
    close(copy);
    throw SysError{error, "fdopendir"};
  }
  rewinddir(dir.get());
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) throw SysError{errno, "readdir"};
      return names;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
}

Fd OpenFolder(int parent, const std::string& name) {
  return Fd{openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
}

/** Gone is gone, whoever else removes it. */
void RemoveFolder(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) < 0 && errno != ENOENT)
    throw SysError{errno, "unlinkat", name};
}

void Empty(int top, int fd, int depth, int& moved) {
  for (const std::string& name : NamesIn(fd)) {
    if (unlinkat(fd, name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR && errno != EPERM) throw SysError{errno, "unlinkat", name};
    if (depth == kDepthMax) {
      const std::string up = ".covey-removed-" + std::to_string(moved++);
      if (renameat(fd, name.c_str(), top, up.c_str()) < 0 && errno != ENOENT)
        throw SysError{errno, "renameat", name};
      continue;
    }
    Fd child = OpenFolder(fd, name);
    if (!child && errno == ENOENT) continue;
    if (!child) throw SysError{errno, "openat", name};
    Empty(top, child.get(), depth + 1, moved);
    RemoveFolder(fd, name);
  }
}

}  // namespace

void RemoveTreeAt(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) throw SysError{errno, "unlinkat", name};
  Fd top = OpenFolder(parent, name);
  if (!top && errno == ENOENT) return;
  if (!top) throw SysError{errno, "openat", name};
  int moved = 0;
  // What was moved up is only seen by the next round.
  for (int before = -1; before != moved;) {
    before = moved;
    Empty(top.get(), top.get(), 0, moved);
  }
  RemoveFolder(parent, name);
}

void RemoveTree(const std::string& path) { RemoveTreeAt(AT_FDCWD, path); }

}  // namespace covey
