// Writes an image layer's entries into a folder that nothing leads out of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "fd.h"

namespace covey {

/** Numbers are shared with native/layer.ts. */
enum class LayerOpKind : uint32_t {
  kFile = 0,       // makes the file and writes the first piece of its body
  kAppend = 1,     // writes a further piece of the same file
  kDirectory = 2,  // makes it or takes the one there is; times come by kTimes
  kSymlink = 3,
  kHardlink = 4,
  kFifo = 5,
  kWhiteout = 6,
  kOpaque = 7,
  kTimes = 8,  // sets a directory's times, and attributes, once nothing is put into it any more
  kChar = 9,
  kBlock = 10,
};

/** One step. Paths are relative to the root, without `.` and `..` parts; empty = the root itself. */
struct LayerOp {
  LayerOpKind kind = LayerOpKind::kFile;
  std::string path;
  std::string link;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime_seconds = 0;
  uint32_t mtime_nanos = 0;
  // kFile, kAppend: owner, mode, attributes and times follow the last piece, because writing and chown(2)
  // both drop security.capability and the set-id bits.
  bool last = true;
  uint64_t offset = 0;  // of `body` in the file
  uint64_t size = 0;    // of the whole file
  uint32_t major = 0;
  uint32_t minor = 0;
  const uint8_t* body = nullptr;
  size_t body_size = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

/**
 * Does `ops` in order beneath the folder open as `root`. Links are followed as a process confined to that root would
 * follow them. The folder must be nobody else's while this runs. Throws SysError naming the op's path; what was done
 * before stays. Source: openat2(2), RESOLVE_IN_ROOT; kernel Documentation/filesystems/overlayfs.rst, "whiteouts and
 * opaque directories".
 */
void ApplyLayer(int root, const std::vector<LayerOp>& ops);

/** Removes `path` and everything in it, however deep; a missing one is fine. Follows no links. */
void RemoveTree(const std::string& path);

/** Makes everything of the file system that holds `fd` durable. Source: syncfs(2). */
void SyncFileSystem(int fd);

}  // namespace covey
