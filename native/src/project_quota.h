// How much a container may write: a project quota on the folders of its writable layer. Source: quotactl_fd(2),
// ioctl_fsgetxattr(2); kernel docs, filesystems/ext4 and xfs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace covey {

/**
 * Makes `names` in `folder`, empty, as one project that holds at most `bytes` together. Everything made in them belongs to
 * it. It holds whoever lives in a user namespace; others may take their files out of the project.
 * Throws SysError EOPNOTSUPP naming the mount when its file system enforces no project quotas; then nothing is made.
 */
void MakeLimitedFolders(const std::string& folder, const std::vector<std::string>& names, uint64_t bytes);

}  // namespace covey
