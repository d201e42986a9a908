#include "project_quota.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "cgroup_files.h"
#include "fd.h"

namespace covey {
namespace {

constexpr char kStep[] = "limiting the writable layer";
/** Project ids are ours from here on: the number of the container's folder, which no other folder has. */
constexpr uint32_t kFirstProject = 1u << 30, kProjects = 1u << 30;
/** Folders whose numbers fall together are possible on XFS only. */
constexpr uint32_t kTriesMax = 64;

Fd OpenFolder(const std::string& path) {
  Fd fd{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) throw SysError{errno, "open", path, kStep};
  return fd;
}

/** "ext4 on /var/lib", for people. */
std::string MountOf(const Fd& fd) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return "its file system";
  const std::string device = std::to_string(major(st.st_dev)) + ":" + std::to_string(minor(st.st_dev));
  std::string found = "its file system";
  for (const std::string& line : SplitText(ReadSmallFile("/proc/self/mountinfo"), '\n')) {
    const std::vector<std::string> words = SplitText(line, ' ');
    const size_t dash = line.find(" - ");
    if (words.size() < 6 || dash == std::string::npos || words[2] != device) continue;
    found = SplitText(line.substr(dash + 3), ' ')[0] + " on " + words[4];
  }
  return found;
}

int Quota(const Fd& fd, int command, uint32_t id, void* data) {
  return static_cast<int>(syscall(SYS_quotactl_fd, fd.get(), QCMD(command, PRJQUOTA), id, data));
}

void CheckEnforced(const Fd& fd, const std::string& folder) {
  fs_quota_stat state{};
  const bool asked = Quota(fd, Q_XGETQSTAT, 0, &state) == 0;
  if (asked && (state.qs_flags & FS_QUOTA_PDQ_ENFD) != 0) return;
  throw SysError{EOPNOTSUPP, "quotactl_fd", folder, kStep,
                 MountOf(fd) +
                     " enforces no project quotas; mount it with prjquota (ext4: after tune2fs -O " +
                     "project,quota) or leave the size out"};
}

bool IsFree(const Fd& fd, uint32_t project) {
  if_dqblk use{};
  if (Quota(fd, Q_GETQUOTA, project, &use) != 0) return errno == ENOENT || errno == ESRCH;
  return use.dqb_curspace == 0 && use.dqb_curinodes == 0;
}

uint32_t FreeProject(const Fd& fd, const std::string& folder) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) throw SysError{errno, "fstat", folder, kStep};
  for (uint32_t i = 0; i < kTriesMax; i++) {
    const auto project = static_cast<uint32_t>(kFirstProject + (st.st_ino + i) % kProjects);
    if (IsFree(fd, project)) return project;
  }
  throw SysError{EAGAIN, "quotactl_fd", folder, kStep, "no project id is free"};
}

void Limit(const Fd& fd, uint32_t project, uint64_t bytes, const std::string& folder) {
  if_dqblk limit{};
  limit.dqb_bhardlimit = limit.dqb_bsoftlimit = (bytes + QIF_DQBLKSIZE - 1) / QIF_DQBLKSIZE;
  limit.dqb_valid = QIF_BLIMITS;
  if (Quota(fd, Q_SETQUOTA, project, &limit) != 0) throw SysError{errno, "quotactl_fd", folder, kStep};
}

void PutInProject(const std::string& path, uint32_t project) {
  const Fd fd = OpenFolder(path);
  fsxattr attributes{};
  if (ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes) != 0) throw SysError{errno, "ioctl", path, kStep};
  attributes.fsx_projid = project;
  attributes.fsx_xflags |= FS_XFLAG_PROJINHERIT;
  if (ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) != 0) throw SysError{errno, "ioctl", path, kStep};
}

}  // namespace

void MakeLimitedFolders(const std::string& folder, const std::vector<std::string>& names, uint64_t bytes) {
  const Fd fd = OpenFolder(folder);
  CheckEnforced(fd, folder);
  // Two that look for an id at once must not find the same.
  const Fd above = OpenFolder(folder + "/..");
  if (flock(above.get(), LOCK_EX) != 0) throw SysError{errno, "flock", folder, kStep};
  const uint32_t project = FreeProject(fd, folder);
  Limit(fd, project, bytes, folder);
  for (const std::string& name : names) {
    const std::string path = folder + "/" + name;
    if (mkdir(path.c_str(), 0755) != 0) throw SysError{errno, "mkdir", path, kStep};
    PutInProject(path, project);
  }
}

}  // namespace covey
