#include "layer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>
#include <optional>

#include "open_in_root.h"
#include "sys_error.h"

namespace covey {

void RemoveTreeAt(int parent, const std::string& name);  // remove_tree.cc

namespace {

// Symlinks whose missing targets are made, one within the other; the kernel's own bound is 40.
constexpr int kLinksMax = 40;
constexpr const char* kCapability = "security.capability";
constexpr const char* kOpaque = "trusted.overlay.opaque";

struct Place {
  int dir;
  std::string name;
};

/** Folder and last part of a path. */
std::pair<std::string, std::string> Split(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

class LayerFolder {
 public:
  explicit LayerFolder(int root) : root_(root) {}

  void Apply(const LayerOp& op) {
    switch (op.kind) {
      case LayerOpKind::kFile:
        return MakeFile(op);
      case LayerOpKind::kAppend:
        return Append(op);
      case LayerOpKind::kDirectory:
        return MakeDirectory(op);
      case LayerOpKind::kSymlink:
        return MakeSymlink(op);
      case LayerOpKind::kHardlink:
        return MakeHardlink(op);
      case LayerOpKind::kFifo:
        return MakeFifo(op);
      case LayerOpKind::kWhiteout:
        return MakeWhiteout(op);
      case LayerOpKind::kOpaque:
        return MakeOpaque(op);
      case LayerOpKind::kTimes:
        return SetFolderTimes(op);
      case LayerOpKind::kChar:
        return MakeNode(op, S_IFCHR);
      case LayerOpKind::kBlock:
        return MakeNode(op, S_IFBLK);
    }
    throw SysError{EINVAL, "layer", op.path};
  }

 private:
  int TryOpen(const std::string& path, int flags) const {
    return OpenInRoot(root_, path.empty() ? "." : path.c_str(), flags).Release();
  }

  /** Opens a folder, making what is missing of it as 0755 root; layers may leave out the folders of their files. */
  Fd EnsureFolder(const std::string& path) {
    Fd fd{TryOpen(path, O_PATH | O_DIRECTORY)};
    if (fd) return fd;
    if (errno != ENOENT || path.empty()) throw SysError{errno, "openat2", path};
    const auto [folder, name] = Split(path);
    const Fd parent = EnsureFolder(folder);
    if (mkdirat(parent.get(), name.c_str(), 0755) < 0) {
      if (errno != EEXIST) throw SysError{errno, "mkdirat", path};
      // A link to nowhere: a confined process that made its target would make it beneath the root.
      return EnsureFolder(TargetOf(parent.get(), folder, name, path));
    }
    if (fchmodat(parent.get(), name.c_str(), 0755, 0) < 0) throw SysError{errno, "fchmodat", path};
    fd = Fd{TryOpen(path, O_PATH | O_DIRECTORY)};
    if (!fd) throw SysError{errno, "openat2", path};
    return fd;
  }

  std::string TargetOf(int parent, const std::string& folder, const std::string& name,
                       const std::string& path) {
    if (++links_followed_ > kLinksMax) throw SysError{ELOOP, "openat2", path};
    char target[4096];
    const ssize_t size = readlinkat(parent, name.c_str(), target, sizeof target);
    if (size <= 0 || size == sizeof target) throw SysError{ENOTDIR, "mkdirat", path};
    std::string joined(target, static_cast<size_t>(size));
    if (joined[0] != '/') joined = folder + "/" + joined;
    return Cleaned(joined);
  }

  /** Without `.` and `..`: good enough for what does not exist yet, and openat2 checks it once more. */
  static std::string Cleaned(const std::string& path) {
    std::string clean;
    size_t at = 0;
    while (at <= path.size()) {
      size_t end = path.find('/', at);
      if (end == std::string::npos) end = path.size();
      const std::string part = path.substr(at, end - at);
      at = end + 1;
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        clean = Split(clean).first;
      } else {
        clean += (clean.empty() ? "" : "/") + part;
      }
    }
    return clean;
  }

  Place Locate(const std::string& path) {
    auto [folder, name] = Split(path);
    if (!folder_path_ || folder != *folder_path_) {
      links_followed_ = 0;
      folder_ = EnsureFolder(folder);
      folder_path_ = folder;
    }
    return {folder_.get(), std::move(name)};
  }

  /** Takes away what is in the way. True when that was a whiteout. */
  bool Clear(const Place& place, const std::string& path) {
    struct stat there {};
    if (fstatat(place.dir, place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT) return false;
      throw SysError{errno, "fstatat", path};
    }
    if (S_ISDIR(there.st_mode)) {
      RemoveTreeAt(place.dir, place.name);
    } else if (unlinkat(place.dir, place.name.c_str(), 0) < 0) {
      throw SysError{errno, "unlinkat", path};
    }
    // The folder kept open may have been reached through what is gone now. place.dir stays open: only the
    // name it is known by is forgotten.
    if (!S_ISREG(there.st_mode)) folder_path_.reset();
    return S_ISCHR(there.st_mode) && there.st_rdev == makedev(0, 0);
  }

  static void Write(int fd, const LayerOp& op) {
    size_t done = 0;
    while (done < op.body_size) {
      const ssize_t wrote =
          pwrite(fd, op.body + done, op.body_size - done, static_cast<off_t>(op.offset + done));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) throw SysError{errno, "pwrite", op.path};
      done += static_cast<size_t>(wrote);
    }
  }

  static void SetAttributes(int fd, const LayerOp& op) {
    for (const auto& [name, value] : op.xattrs) {
      if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) continue;
      // A file system without user attributes (older tmpfs) or ACLs loses decoration; a lost capability breaks a program.
      if (errno == EOPNOTSUPP && name != kCapability) continue;
      throw SysError{errno, "fsetxattr", op.path, "", name};
    }
  }

  static void SetOwnerAndMode(int fd, const LayerOp& op) {
    if (fchown(fd, op.uid, op.gid) < 0) throw SysError{errno, "fchown", op.path};
    if (fchmod(fd, op.mode) < 0) throw SysError{errno, "fchmod", op.path};
    SetAttributes(fd, op);
  }

  static void TimesOf(const LayerOp& op, timespec (&times)[2]) {
    for (timespec& time : times) {
      time.tv_sec = op.mtime_seconds;
      time.tv_nsec = static_cast<long>(op.mtime_nanos);
    }
  }

  static void Finish(int fd, const LayerOp& op) {
    if (!op.last) return;
    // A hole at the end is nothing that was written.
    if (op.offset + op.body_size < op.size && ftruncate(fd, static_cast<off_t>(op.size)) < 0) {
      throw SysError{errno, "ftruncate", op.path};
    }
    SetOwnerAndMode(fd, op);
    timespec times[2];
    TimesOf(op, times);
    if (futimens(fd, times) < 0) throw SysError{errno, "futimens", op.path};
  }

  void MakeFile(const LayerOp& op) {
    const Place place = Locate(op.path);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    Fd fd{openat(place.dir, place.name.c_str(), flags, 0600)};
    if (!fd && errno == EEXIST) {
      Clear(place, op.path);
      fd = Fd{openat(place.dir, place.name.c_str(), flags, 0600)};
    }
    if (!fd) throw SysError{errno, "openat", op.path};
    Write(fd.get(), op);
    Finish(fd.get(), op);
  }

  void Append(const LayerOp& op) {
    const Place place = Locate(op.path);
    Fd fd{openat(place.dir, place.name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC)};
    if (!fd) throw SysError{errno, "openat", op.path};
    Write(fd.get(), op);
    Finish(fd.get(), op);
  }

  void MakeDirectory(const LayerOp& op) {
    if (op.path.empty()) return SetOwnerAndMode(root_, op);
    const Place place = Locate(op.path);
    bool replaced_whiteout = false;
    if (mkdirat(place.dir, place.name.c_str(), 0700) < 0) {
      if (errno != EEXIST) throw SysError{errno, "mkdirat", op.path};
      struct stat there {};
      if (fstatat(place.dir, place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) {
        throw SysError{errno, "fstatat", op.path};
      }
      if (!S_ISDIR(there.st_mode)) {
        replaced_whiteout = Clear(place, op.path);
        if (mkdirat(place.dir, place.name.c_str(), 0700) < 0) throw SysError{errno, "mkdirat", op.path};
      }
    }
    const Fd fd{openat(place.dir, place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (!fd) throw SysError{errno, "openat", op.path};
    SetOwnerAndMode(fd.get(), op);
    // The layer said first that nothing of the lower ones remains here, then made a new folder.
    if (replaced_whiteout) MarkOpaque(fd.get(), op.path);
  }

  void MakeSymlink(const LayerOp& op) {
    const Place place = Locate(op.path);
    if (symlinkat(op.link.c_str(), place.dir, place.name.c_str()) < 0) {
      if (errno != EEXIST) throw SysError{errno, "symlinkat", op.path};
      Clear(place, op.path);
      if (symlinkat(op.link.c_str(), place.dir, place.name.c_str()) < 0) {
        throw SysError{errno, "symlinkat", op.path};
      }
    }
    FinishByName(place, op);
  }

  void MakeHardlink(const LayerOp& op) {
    const auto [folder, name] = Split(op.link);
    links_followed_ = 0;
    const Fd from = EnsureFolder(folder);
    const Place place = Locate(op.path);
    if (linkat(from.get(), name.c_str(), place.dir, place.name.c_str(), 0) == 0) return;
    if (errno != EEXIST) throw SysError{errno, "linkat", op.path};
    struct stat target {
    }, there{};
    if (fstatat(from.get(), name.c_str(), &target, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(place.dir, place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) < 0) {
      throw SysError{errno, "fstatat", op.path};
    }
    if (target.st_ino == there.st_ino && target.st_dev == there.st_dev) return;
    Clear(place, op.path);
    if (linkat(from.get(), name.c_str(), place.dir, place.name.c_str(), 0) < 0) {
      throw SysError{errno, "linkat", op.path};
    }
  }

  void MakeFifo(const LayerOp& op) { MakeNode(op, S_IFIFO); }

  /** A fifo or a device; what a device leads to, the container's root and rules say (ADR 0021). */
  void MakeNode(const LayerOp& op, mode_t kind) {
    const Place place = Locate(op.path);
    const dev_t device = kind == S_IFIFO ? 0 : makedev(op.major, op.minor);
    if (mknodat(place.dir, place.name.c_str(), kind | 0600, device) < 0) {
      if (errno != EEXIST) throw SysError{errno, "mknodat", op.path};
      Clear(place, op.path);
      if (mknodat(place.dir, place.name.c_str(), kind | 0600, device) < 0) {
        throw SysError{errno, "mknodat", op.path};
      }
    }
    FinishByName(place, op);
  }

  /** For what is not to be opened: links, fifos and devices. The name was just made by us in a folder of ours. */
  static void FinishByName(const Place& place, const LayerOp& op) {
    if (fchownat(place.dir, place.name.c_str(), op.uid, op.gid, AT_SYMLINK_NOFOLLOW) < 0) {
      throw SysError{errno, "fchownat", op.path};
    }
    if (op.kind != LayerOpKind::kSymlink && fchmodat(place.dir, place.name.c_str(), op.mode, 0) < 0) {
      throw SysError{errno, "fchmodat", op.path};
    }
    timespec times[2];
    TimesOf(op, times);
    if (utimensat(place.dir, place.name.c_str(), times, AT_SYMLINK_NOFOLLOW) < 0) {
      throw SysError{errno, "utimensat", op.path};
    }
  }

  void MakeWhiteout(const LayerOp& op) {
    const Place place = Locate(op.path);
    if (mknodat(place.dir, place.name.c_str(), S_IFCHR | 0600, makedev(0, 0)) == 0) return;
    if (errno != EEXIST) throw SysError{errno, "mknodat", op.path};
    // Whiteouts speak of lower layers only. A file of this one hides them anyway, a folder must say so.
    const Fd fd{openat(place.dir, place.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    if (fd) return MarkOpaque(fd.get(), op.path);
    if (errno != ENOTDIR && errno != ELOOP) throw SysError{errno, "openat", op.path};
  }

  void MakeOpaque(const LayerOp& op) {
    links_followed_ = 0;
    EnsureFolder(op.path);
    const Fd fd{TryOpen(op.path, O_RDONLY | O_DIRECTORY)};
    if (!fd) throw SysError{errno, "openat2", op.path};
    MarkOpaque(fd.get(), op.path);
  }

  static void MarkOpaque(int fd, const std::string& path) {
    if (fsetxattr(fd, kOpaque, "y", 1, 0) < 0) throw SysError{errno, "fsetxattr", path, "", kOpaque};
  }

  void SetFolderTimes(const LayerOp& op) {
    const Fd fd{TryOpen(op.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)};
    if (!fd) {
      // A later entry of the same layer has taken its place.
      if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return;
      throw SysError{errno, "openat2", op.path};
    }
    SetAttributes(fd.get(), op);
    timespec times[2];
    TimesOf(op, times);
    if (futimens(fd.get(), times) < 0) throw SysError{errno, "futimens", op.path};
  }

  int root_;
  int links_followed_ = 0;
  // The folder used last: entries of one folder mostly follow each other.
  Fd folder_;
  std::optional<std::string> folder_path_;
};

}  // namespace

void ApplyLayer(int root, const std::vector<LayerOp>& ops) {
  LayerFolder folder{root};
  for (const LayerOp& op : ops) folder.Apply(op);
}

void SyncFileSystem(int fd) {
  if (syncfs(fd) < 0) throw SysError{errno, "syncfs"};
}

}  // namespace covey
