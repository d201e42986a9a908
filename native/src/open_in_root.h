// Paths from images, archives and users, resolved beneath their root.
#pragma once

#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "fd.h"

namespace covey {

/**
 * Opens `path` (close-on-exec) as a process would whose root is `root`; no magic links. Empty with errno. The kernel gives up
 * a path with `..` whenever anything is renamed or mounted anywhere meanwhile, and asks to try again. Source: openat2(2), EAGAIN.
 */
inline Fd OpenInRoot(int root, const char* path, int flags) {
  constexpr int kTriesMax = 1000;
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (int tries = 0;; tries++) {
    Fd fd{static_cast<int>(syscall(SYS_openat2, root, path, &how, sizeof how))};
    if (fd || errno != EAGAIN || tries == kTriesMax) return fd;
  }
}

}  // namespace covey
