#include "merged_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <memory>

#include "sys_error.h"

namespace covey {
namespace {

// The kernel's own bound for links in one path.
constexpr int kLinksMax = 40;
/** Ids a user namespace of a container has. Source: agent/runtime/id-ranges.ts. */
constexpr uint32_t kIdRange = 65536;

Fd OpenFolder(int parent, const std::string& name) {
  return Fd{openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
}

/** Parts of a path in order, without empty ones and `.`. */
std::deque<std::string> PartsOf(const std::string& path) {
  std::deque<std::string> parts;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  return parts;
}

std::string Joined(const std::vector<std::string>& names) {
  std::string path;
  for (const std::string& name : names) path += (path.empty() ? "" : "/") + name;
  return path;
}

}  // namespace

bool IsWhiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0); }

bool IsOpaque(int fd) {
  char value[2];
  return fgetxattr(fd, "trusted.overlay.opaque", value, sizeof value) == 1 && value[0] == 'y';
}

std::vector<std::string> NamesOf(int fd) {
  const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) throw SysError{errno, "openat"};
  const std::unique_ptr<DIR, int (*)(DIR*)> dir{fdopendir(copy), closedir};
  if (!dir) {
    const int error = errno;
    close(copy);
    throw SysError{error, "fdopendir"};
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) {
      if (errno != 0) throw SysError{errno, "readdir"};
      return names;
    }
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
}

std::string LinkTarget(int parent, const std::string& name) {
  char target[4096];
  const ssize_t size = readlinkat(parent, name.c_str(), target, sizeof target);
  if (size < 0) throw SysError{errno, "readlinkat", name};
  return {target, static_cast<size_t>(size)};
}

MergedTree::MergedTree(std::vector<TreeLayer> layers) : layers_(std::move(layers)) {
  if (layers_.empty()) throw InvalidInput("layers", "there are none");
}

MergedFolder MergedTree::Root() const {
  MergedFolder root;
  for (size_t at = 0; at < layers_.size(); at++) {
    Fd fd{open(layers_[at].path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!fd) throw SysError{errno, "open", layers_[at].path};
    const bool opaque = IsOpaque(fd.get());
    root.parts.push_back({std::move(fd), at});
    if (opaque) break;
  }
  return root;
}

std::optional<MergedEntry> MergedTree::Find(const MergedFolder& folder, const std::string& name) const {
  std::optional<MergedEntry> found;
  for (const auto& [fd, layer] : folder.parts) {
    struct stat st {};
    if (fstatat(fd.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT || errno == ENAMETOOLONG) continue;
      throw SysError{errno, "fstatat", name};
    }
    if (IsWhiteout(st) || (found && !S_ISDIR(st.st_mode))) break;
    if (!found) found = MergedEntry{.st = st, .layer = layer, .parent = fd.get(), .name = name};
    if (!S_ISDIR(st.st_mode)) break;
    Fd part = OpenFolder(fd.get(), name);
    // Another has taken its place meanwhile; what was seen first counts.
    if (!part) break;
    const bool opaque = IsOpaque(part.get());
    found->folder.parts.push_back({std::move(part), layer});
    if (opaque) break;
  }
  return found;
}

std::vector<std::string> MergedTree::Names(const MergedFolder& folder) const {
  std::vector<std::string> names;
  for (const auto& part : folder.parts) {
    for (std::string& name : NamesOf(part.fd.get())) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

MergedPlace MergedTree::Resolve(const std::string& path, bool follow) const {
  MergedPlace place;
  std::vector<std::string> names;
  std::deque<std::string> left = PartsOf(path);
  int links = 0;
  place.way.push_back(Root());
  while (!left.empty()) {
    const std::string name = left.front();
    left.pop_front();
    if (name == "..") {
      if (names.empty()) continue;
      names.pop_back();
      place.way.pop_back();
      continue;
    }
    std::optional<MergedEntry> entry = Find(place.way.back(), name);
    if (!entry) {
      names.push_back(name);
      for (const std::string& rest : left) {
        if (rest != "..")
          names.push_back(rest);
        else if (!names.empty())
          names.pop_back();
      }
      place.path = Joined(names);
      return place;
    }
    if (S_ISLNK(entry->st.st_mode) && (!left.empty() || follow)) {
      if (++links > kLinksMax) throw SysError{ELOOP, "openat2", path};
      const std::string target = LinkTarget(entry->parent, name);
      const std::deque<std::string> more = PartsOf(target);
      left.insert(left.begin(), more.begin(), more.end());
      if (target.starts_with("/")) {
        names.clear();
        place.way.resize(1);
      }
      continue;
    }
    names.push_back(name);
    if (!S_ISDIR(entry->st.st_mode)) {
      if (!left.empty()) throw SysError{ENOTDIR, "openat2", path};
      place.path = Joined(names);
      place.entry = std::move(entry);
      return place;
    }
    place.way.push_back(std::move(entry->folder));
  }
  place.path = Joined(names);
  MergedEntry here;
  const MergedFolder::Part& top = place.way.back().parts.front();
  if (fstat(top.fd.get(), &here.st) != 0) throw SysError{errno, "fstat", path};
  here.layer = top.layer;
  here.folder = std::move(place.way.back());
  place.way.pop_back();
  place.entry = std::move(here);
  return place;
}

uint32_t MergedTree::OwnId(size_t layer, uint32_t id) const {
  const uint32_t base = layers_[layer].id_base;
  return id >= base && id - base < kIdRange ? id - base : id;
}

}  // namespace covey
