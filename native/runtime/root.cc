#include "root.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "../src/fd.h"
#include "../src/layer.h"
#include "../src/oci_reader.h"
#include "../src/sys_error.h"

namespace covey {
namespace {

using nlohmann::json;

/** The path of the mount namespace it joins, "" when it stays in the caller's, nothing when it has its own. */
std::optional<std::string> ForeignMounts(const json& config) {
  for (const json& item : ArrayOr(ObjectOr(config, "linux"), "namespaces")) {
    if (TextOr(item, "type", "") != "mount") continue;
    const std::string path = TextOr(item, "path", "");
    return path.empty() ? std::nullopt : std::optional(path);
  }
  return "";
}

/** An errno, 0 also when nothing is mounted there. */
int Detach(const std::string& place) {
  while (umount2(place.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) continue;
  return errno == EINVAL || errno == ENOENT ? 0 : errno;
}

/** A namespace that is gone has taken its mounts along; one that is another by now has nothing at that place. */
int DetachIn(const std::string& space, const std::string& place) {
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    const Fd fd{open(space.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd || setns(fd.get(), CLONE_NEWNS) != 0) _exit(0);
    _exit(Detach(place));
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

}  // namespace

bool SharesMounts(const json& config) { return ForeignMounts(config).has_value(); }

void RemoveFolder(const std::string& folder, const json& config) {
  const std::string place = folder + "/root";
  const std::optional<std::string> space = ForeignMounts(config);
  const int error = !space ? 0 : space->empty() ? Detach(place) : DetachIn(*space, place);
  if (error != 0) throw SysError{error, "umount2", place, "detaching the root file system"};
  // Empty, or the bundle's own files would be removed with it.
  if (rmdir(place.c_str()) != 0 && errno != ENOENT) throw SysError{errno, "rmdir", place};
  RemoveTree(folder);
}

}  // namespace covey
