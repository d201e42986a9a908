#include "tree_walk.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sys_error.h"

// After the C library's own.
#include <linux/limits.h>

namespace covey {
namespace {

// Bounds of a batch, as of those that are written (agent/image/unpack.ts).
constexpr size_t kEntriesMax = 512;
constexpr size_t kBytesMax = size_t{4} << 20;
constexpr size_t kPieceMax = size_t{1} << 20;
// Linux, PATH_MAX: nothing longer can be unpacked again.
constexpr size_t kPathMax = 4095;
constexpr const char* kCapability = "security.capability";
constexpr const char* kAccessAcl = "system.posix_acl_access";
constexpr const char* kDefaultAcl = "system.posix_acl_default";

uint32_t Little32(const std::string& bytes, size_t at) {
  uint32_t number = 0;
  for (size_t i = 0; i < 4; i++)
    number |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  return number;
}

void PutLittle32(std::string& bytes, size_t at, uint32_t number) {
  for (size_t i = 0; i < 4; i++) bytes[at + i] = static_cast<char>(number >> (8 * i));
}

/** A capability that counts for root of the container's user namespace, as the image has it. Source: linux/capability.h, vfs_ns_cap_data. */
std::string OwnCapability(const std::string& value, uint32_t id_base) {
  constexpr uint32_t kRevision2 = 0x02000000, kRevision3 = 0x03000000, kRevisionMask = 0xff000000;
  constexpr size_t kSize2 = 20, kSize3 = 24;
  if (value.size() != kSize3 || (Little32(value, 0) & kRevisionMask) != kRevision3) return value;
  if (Little32(value, kSize2) != id_base) return value;
  std::string own = value.substr(0, kSize2);
  own[3] = static_cast<char>(kRevision2 >> 24);
  return own;
}

/** Makes the users and groups of an access control list those of the image. Source: linux/posix_acl_xattr.h. */
void MakeAclOwn(std::string& value, const MergedTree& tree, size_t layer) {
  constexpr uint32_t kVersion = 2, kUser = 0x02, kGroup = 0x08, kTagMask = 0xffff;
  constexpr size_t kHeaderBytes = 4, kEntryBytes = 8, kIdAt = 4;
  if (value.size() < kHeaderBytes || Little32(value, 0) != kVersion) return;
  for (size_t at = kHeaderBytes; at + kEntryBytes <= value.size(); at += kEntryBytes) {
    const uint32_t tag = Little32(value, at) & kTagMask;
    if (tag == kUser || tag == kGroup)
      PutLittle32(value, at + kIdAt, tree.OwnId(layer, Little32(value, at + kIdAt)));
  }
}

std::string Attribute(int fd, const std::string& name, const std::string& path) {
  std::string value(256, '\0');
  for (;;) {
    const ssize_t size = fgetxattr(fd, name.c_str(), value.data(), value.size());
    if (size >= 0) return value.substr(0, static_cast<size_t>(size));
    if (errno == ENODATA) return "";
    if (errno != ERANGE || value.size() >= XATTR_SIZE_MAX) throw SysError{errno, "fgetxattr", path, "", name};
    value.resize(XATTR_SIZE_MAX);
  }
}

std::vector<std::string> AttributeNames(int fd, const std::string& path) {
  std::string list(1024, '\0');
  ssize_t size = flistxattr(fd, list.data(), list.size());
  if (size < 0 && errno == ERANGE) {
    list.resize(XATTR_LIST_MAX);
    size = flistxattr(fd, list.data(), list.size());
  }
  if (size < 0 && errno != EOPNOTSUPP) throw SysError{errno, "flistxattr", path};
  std::vector<std::string> names;
  for (size_t at = 0; size > 0 && at < static_cast<size_t>(size);) {
    names.emplace_back(list.c_str() + at);
    at += names.back().size() + 1;
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string Below(const std::string& folder, const std::string& name) {
  std::string path = folder.empty() ? name : folder + "/" + name;
  if (path.size() > kPathMax) throw SysError{ENAMETOOLONG, "openat", path};
  return path;
}

/** Fills all of it; zeros where the file ends before. */
void ReadAll(int fd, uint8_t* into, size_t size, const std::string& path) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = read(fd, into + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SysError{errno, "read", path};
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  memset(into + done, 0, size - done);
}

}  // namespace

TreeEntry DescribeEntry(const MergedTree& tree, const MergedEntry& found) {
  const struct stat& st = found.st;
  TreeEntry entry;
  entry.mode = st.st_mode & 07777;
  entry.uid = tree.OwnId(found.layer, st.st_uid);
  entry.gid = tree.OwnId(found.layer, st.st_gid);
  entry.seconds = st.st_mtim.tv_sec;
  entry.nanos = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  if (S_ISREG(st.st_mode)) entry.size = static_cast<uint64_t>(st.st_size);
  if (S_ISDIR(st.st_mode)) entry.kind = TreeKind::kDirectory;
  if (S_ISLNK(st.st_mode)) entry.kind = TreeKind::kSymlink;
  if (S_ISFIFO(st.st_mode)) entry.kind = TreeKind::kFifo;
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
    entry.kind = S_ISCHR(st.st_mode) ? TreeKind::kCharacter : TreeKind::kBlock;
    entry.major = major(st.st_rdev);
    entry.minor = minor(st.st_rdev);
  }
  return entry;
}

TreeWalk::TreeWalk(std::vector<TreeLayer> layers, const std::string& path, bool raw)
    : tree_(std::move(layers)), raw_(raw) {
  MergedPlace place = tree_.Resolve(path, false);
  if (!place.entry) throw SysError{ENOENT, "openat2", path};
  way_ = std::move(place.way);
  start_ = std::move(place.entry);
}

TreeBatch TreeWalk::Next() {
  TreeBatch batch;
  batch.bytes.reset(new uint8_t[kBytesMax]);
  while (batch.entries.size() < kEntriesMax && batch.size < kBytesMax) {
    if (body_) {
      TreeEntry more = body_entry_;
      more.kind = TreeKind::kAppend;
      AddPiece(batch, std::move(more));
    } else if (start_) {
      MergedEntry start = std::move(*start_);
      start_.reset();
      Meet(batch, std::move(start), "");
    } else if (!levels_.empty()) {
      Step(batch);
    } else {
      break;
    }
  }
  return batch;
}

void TreeWalk::Step(TreeBatch& batch) {
  Level& level = levels_.back();
  if (level.next == level.names.size()) {
    levels_.pop_back();
    return;
  }
  const std::string name = level.names[level.next++];
  const std::string path = Below(level.path, name);
  struct stat st {};
  if (raw_ && fstatat(level.folder.parts[0].fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      IsWhiteout(st)) {
    TreeEntry whiteout;
    whiteout.kind = TreeKind::kWhiteout;
    whiteout.path = path;
    batch.entries.push_back(std::move(whiteout));
    return;
  }
  std::optional<MergedEntry> entry = tree_.Find(level.folder, name);
  if (entry) Meet(batch, std::move(*entry), path);
}

void TreeWalk::Meet(TreeBatch& batch, MergedEntry found, const std::string& path) {
  TreeEntry entry = DescribeEntry(tree_, found);
  entry.path = path;
  const struct stat& st = found.st;
  if (S_ISDIR(st.st_mode)) {
    if (found.folder.parts.empty()) return;
    const int fd = found.folder.parts[0].fd.get();
    AddAttributes(fd, found.layer, entry);
    batch.entries.push_back(std::move(entry));
    if (raw_ && IsOpaque(fd)) {
      TreeEntry opaque;
      opaque.kind = TreeKind::kOpaque;
      opaque.path = path;
      batch.entries.push_back(std::move(opaque));
    }
    return Enter(std::move(found.folder), path);
  }
  if (S_ISSOCK(st.st_mode)) return;
  if (st.st_nlink > 1) {
    const auto [first, is_first] = linked_.try_emplace({st.st_dev, st.st_ino}, path);
    if (!is_first) {
      entry.kind = TreeKind::kHardlink;
      entry.link = first->second;
      entry.size = 0;
      batch.entries.push_back(std::move(entry));
      return;
    }
  }
  if (S_ISREG(st.st_mode)) {
    if (!AddFile(batch, found, std::move(entry))) linked_.erase({st.st_dev, st.st_ino});
    return;
  }
  if (S_ISLNK(st.st_mode)) entry.link = LinkTarget(found.parent, found.name);
  batch.entries.push_back(std::move(entry));
}

void TreeWalk::Enter(MergedFolder folder, const std::string& path) {
  Level level;
  level.names = tree_.Names(folder);
  level.folder = std::move(folder);
  level.path = path;
  levels_.push_back(std::move(level));
}

/** False when it is no longer there. */
bool TreeWalk::AddFile(TreeBatch& batch, const MergedEntry& found, TreeEntry entry) {
  Fd fd{openat(found.parent, found.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  struct stat st {};
  if (!fd && (errno == ENOENT || errno == ELOOP || errno == ENXIO)) return false;
  if (!fd) throw SysError{errno, "openat", entry.path};
  if (fstat(fd.get(), &st) != 0) throw SysError{errno, "fstat", entry.path};
  if (!S_ISREG(st.st_mode)) return false;
  entry.size = static_cast<uint64_t>(st.st_size);
  AddAttributes(fd.get(), found.layer, entry);
  body_ = std::move(fd);
  body_entry_ = entry;
  body_left_ = entry.size;
  AddPiece(batch, std::move(entry));
  return true;
}

/** The next piece of the open file, as much as the batch has room for. */
void TreeWalk::AddPiece(TreeBatch& batch, TreeEntry entry) {
  entry.at = batch.size;
  entry.length = static_cast<size_t>(
      std::min<uint64_t>({body_left_, kPieceMax, static_cast<uint64_t>(kBytesMax - batch.size)}));
  ReadAll(body_.get(), batch.bytes.get() + batch.size, entry.length, entry.path);
  batch.size += entry.length;
  body_left_ -= entry.length;
  entry.last = body_left_ == 0;
  if (entry.last) body_.Reset();
  batch.entries.push_back(std::move(entry));
}

void TreeWalk::AddAttributes(int fd, size_t layer, TreeEntry& entry) const {
  for (const std::string& name : AttributeNames(fd, entry.path)) {
    const bool is_capability = name == kCapability;
    const bool is_acl = name == kAccessAcl || name == kDefaultAcl;
    if (!is_capability && !is_acl && !name.starts_with("user.")) continue;
    std::string value = Attribute(fd, name, entry.path);
    if (is_capability) value = OwnCapability(value, tree_.IdBase(layer));
    if (is_acl) MakeAclOwn(value, tree_, layer);
    // Gone since they were listed.
    if ((is_capability || is_acl) && value.empty()) continue;
    entry.xattrs.emplace_back(name, std::move(value));
  }
}

}  // namespace covey
