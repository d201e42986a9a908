#include "folder.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fd.h"
#include "layer.h"
#include "sys_error.h"

namespace covey {
namespace {

// Source: linux fs/ext4/ext4.h, EXT4_TOPDIR_FL; the same number in ext2 and ext3.
constexpr int kTopFolder = 0x00020000;

void MakeFolders(const std::string& path) {
  for (size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
    const std::string so_far = path.substr(0, at);
    if (mkdir(so_far.c_str(), 0700) != 0 && errno != EEXIST) throw SysError{errno, "mkdir", so_far};
    if (at == std::string::npos) return;
  }
}

void WriteNew(int folder, const NewFile& file) {
  const size_t slash = file.path.find('/');
  if (slash != std::string::npos) {
    const std::string above = file.path.substr(0, slash);
    if (mkdirat(folder, above.c_str(), 0755) != 0 && errno != EEXIST) throw SysError{errno, "mkdir", above};
  }
  const Fd fd{
      openat(folder, file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, file.mode)};
  if (!fd) throw SysError{errno, "open", file.path};
  size_t done = 0;
  while (done < file.content.size()) {
    const ssize_t n = write(fd.get(), file.content.data() + done, file.content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw SysError{errno, "write", file.path};
    done += static_cast<size_t>(n);
  }
}

}  // namespace

void MakeFolder(const std::string& path, const std::vector<NewFile>& files) {
  if (mkdir(path.c_str(), 0700) != 0) throw SysError{errno, "mkdir", path};
  try {
    const Fd folder{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (!folder) throw SysError{errno, "open", path};
    for (const NewFile& file : files) WriteNew(folder.get(), file);
  } catch (const SysError&) {
    RemoveTree(path);
    throw;
  }
}

void MakeSpreadFolder(const std::string& path) {
  MakeFolders(path);
  const Fd folder{open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!folder) throw SysError{errno, "open", path};
  int flags = 0;
  if (ioctl(folder.get(), FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= kTopFolder;
    if (ioctl(folder.get(), FS_IOC_SETFLAGS, &flags) == 0) return;
  }
  if (errno != ENOTTY && errno != EOPNOTSUPP && errno != EINVAL && errno != EPERM && errno != ENOSYS)
    throw SysError{errno, "ioctl", path};
}

}  // namespace covey
