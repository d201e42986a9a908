#include "user_lookup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <sstream>

#include "fd.h"
#include "open_in_root.h"
#include "sys_error.h"

// After the C library's own, whose names the kernel's header repeats.
#include <sys/mount.h>

namespace covey {
namespace {

constexpr size_t kFileMax = 1 << 20;

/** passwd(5) has seven; what follows in a line that an image made up is not worth the memory. */
constexpr size_t kColumnsMax = 8;

std::vector<std::string> Columns(const std::string& line) {
  std::vector<std::string> columns(1);
  for (const char c : line) {
    if (c == ':' && columns.size() == kColumnsMax) break;
    if (c == ':')
      columns.emplace_back();
    else
      columns.back().push_back(c);
  }
  return columns;
}

/** A whole number up to the largest id, or nothing. */
std::optional<uint32_t> Id(const std::string& text) {
  if (text.empty() || text.size() > 10 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  const uint64_t number = std::stoull(text);
  if (number > 4294967294) return std::nullopt;
  return static_cast<uint32_t>(number);
}

bool Holds(const std::string& list, const std::string& name) {
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) {
    if (item == name) return true;
  }
  return false;
}

/**
 * A detached overlay of all layers, read-only. Empty with errno when the kernel takes them neither way. One option a layer
 * where there is `lowerdir+` (6.7); else all in one text that ends at a page, so by the short names of descriptors.
 */
Fd Overlay(const std::vector<std::string>& layers, bool one_by_one) {
  const Fd fs{fsopen("overlay", FSOPEN_CLOEXEC)};
  if (!fs) return Fd{};
  std::vector<Fd> held;
  std::string joined;
  for (const std::string& layer : layers) {
    if (one_by_one) {
      if (fsconfig(fs.get(), FSCONFIG_SET_STRING, "lowerdir+", layer.c_str(), 0) != 0) return Fd{};
      continue;
    }
    held.emplace_back(open(layer.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!held.back()) return Fd{};
    joined += (joined.empty() ? "/proc/self/fd/" : ":/proc/self/fd/") + std::to_string(held.back().get());
  }
  if (!one_by_one && fsconfig(fs.get(), FSCONFIG_SET_STRING, "lowerdir", joined.c_str(), 0) != 0) return Fd{};
  if (fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Fd{};
  return Fd{fsmount(fs.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY)};
}

/** The image's merged root without mounting it anywhere: gone with its descriptor. */
Fd MergedRoot(const std::vector<std::string>& layers) {
  if (layers.size() == 1) {
    Fd fd{open(layers[0].c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!fd) throw SysError{errno, "open", layers[0]};
    return fd;
  }
  Fd root = Overlay(layers, true);
  if (!root && errno == EINVAL) root = Overlay(layers, false);
  if (!root) throw SysError{errno, "fsconfig", layers[0]};
  return root;
}

std::string ReadBeneath(const Fd& root, const char* path) {
  const Fd fd = OpenInRoot(root.get(), path, O_RDONLY | O_NONBLOCK);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return "";
    throw SysError{errno, "openat2", path};
  }
  struct stat st {};
  // A device or pipe under this name would block us or worse.
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return "";
  std::string text;
  char chunk[8192];
  for (ssize_t n = 0; text.size() < kFileMax && (n = read(fd.get(), chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

ImageUser FindUser(const std::string& passwd, const std::string& group, const std::string& user) {
  ImageUser found;
  found.home = "/";
  const size_t colon = user.find(':');
  const std::string name = user.substr(0, colon);
  const std::string group_name = colon == std::string::npos ? "" : user.substr(colon + 1);
  const std::optional<uint32_t> number = Id(name);
  std::string known_as;
  bool seen = false;
  std::istringstream people(passwd);
  for (std::string line; !seen && std::getline(people, line);) {
    const std::vector<std::string> columns = Columns(line);
    if (columns.size() < 6) continue;
    const std::optional<uint32_t> uid = Id(columns[2]), gid = Id(columns[3]);
    // A number is an id, even where the image has a user of that name: it would be an id of the image's choosing.
    if (!uid || !gid || (number ? *uid != *number : columns[0] != name)) continue;
    seen = true;
    known_as = columns[0];
    found.uid = *uid;
    found.gid = *gid;
    if (!columns[5].empty() && columns[5][0] == '/') found.home = columns[5];
  }
  if (!seen && !number) throw InvalidInput("user", "\"" + name + "\" is not in the image's /etc/passwd");
  if (!seen) found.uid = *number;
  bool group_seen = group_name.empty();
  const std::optional<uint32_t> group_number = Id(group_name);
  if (group_number) {
    found.gid = *group_number;
    group_seen = true;
  }
  std::istringstream groups(group);
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> columns = Columns(line);
    if (columns.size() < 4) continue;
    const std::optional<uint32_t> gid = Id(columns[2]);
    if (!gid) continue;
    if (!group_name.empty() && !group_number && columns[0] == group_name) {
      found.gid = *gid;
      group_seen = true;
    }
    // With a group of one's own choosing there are no others. Source: Docker's USER.
    if (group_name.empty() && !known_as.empty() && Holds(columns[3], known_as))
      found.additional_gids.push_back(*gid);
  }
  if (!group_seen)
    throw InvalidInput("user", "group \"" + group_name + "\" is not in the image's /etc/group");
  return found;
}

ImageUser LookUpUser(const std::vector<std::string>& layers, const std::string& user) {
  if (layers.empty()) throw InvalidInput("layers", "there are none");
  const Fd root = MergedRoot(layers);
  return FindUser(ReadBeneath(root, "etc/passwd"), ReadBeneath(root, "etc/group"), user);
}

}  // namespace covey
