// A stack of layer folders seen as overlayfs would show it, without a mount: nothing is left behind by a crash.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fd.h"

namespace covey {

/** A folder of the stack; ids on its disk are `id_base` higher than the image's. */
struct TreeLayer {
  std::string path;
  uint32_t id_base = 0;
};

/** A folder of the merged view: the layers that have it, topmost first, down to an opaque one. */
struct MergedFolder {
  struct Part {
    Fd fd;
    size_t layer;
  };
  std::vector<Part> parts;
};

/** What a name of a merged folder is. */
struct MergedEntry {
  struct stat st {};
  size_t layer = 0;
  /** The topmost folder that has it; a borrowed descriptor of the MergedFolder. */
  int parent = -1;
  std::string name;
  /** Set for folders. */
  MergedFolder folder;
};

/** Where a path leads to. */
struct MergedPlace {
  /** Resolved, relative to the root; behind the last existing part as it was asked for. */
  std::string path;
  /** Absent: there is nothing. */
  std::optional<MergedEntry> entry;
  /** The folders that lead there, the root first; they hold `entry`'s parent. */
  std::vector<MergedFolder> way;
};

/** True for overlayfs' mark of what was removed. */
bool IsWhiteout(const struct stat& st);
/** True when a layer's folder hides what lower ones have in it. */
bool IsOpaque(int fd);
/** Names in the folder open as `fd`, without `.` and `..`, in no order. */
std::vector<std::string> NamesOf(int fd);
/** Target of a link. */
std::string LinkTarget(int parent, const std::string& name);

class MergedTree {
 public:
  /** Layers topmost first, at least one; the folders may change meanwhile. Throws SysError for one that cannot be opened. */
  explicit MergedTree(std::vector<TreeLayer> layers);

  MergedFolder Root() const;
  /** One name, links not followed; nothing when it is not there or hidden. */
  std::optional<MergedEntry> Find(const MergedFolder& folder, const std::string& name) const;
  /** Names to be looked for with `Find`, in order of their bytes; some may be whiteouts. */
  std::vector<std::string> Names(const MergedFolder& folder) const;
  /**
   * Goes along `path` as a process would whose root is this tree; `..` at the root stays there. `follow`: also a link at its end.
   * Throws SysError ELOOP, and ENOTDIR for a part that is no folder.
   */
  MergedPlace Resolve(const std::string& path, bool follow) const;
  /** An id as the image has it; those below the layer's base, which are the host's own, stay what they are. */
  uint32_t OwnId(size_t layer, uint32_t id) const;
  uint32_t IdBase(size_t layer) const { return layers_[layer].id_base; }

 private:
  std::vector<TreeLayer> layers_;
};

}  // namespace covey
