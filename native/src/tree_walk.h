// Reads a tree of files piece by piece, in an order that is always the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "merged_tree.h"

namespace covey {

/** Numbers are shared with native/tree.ts; up to 7 they are LayerOpKind's. */
enum class TreeKind : uint32_t {
  kFile = 0,
  kAppend = 1,
  kDirectory = 2,
  kSymlink = 3,
  kHardlink = 4,
  kFifo = 5,
  kWhiteout = 6,
  kOpaque = 7,
  kCharacter = 9,
  kBlock = 10,
};

/** One entry, or the next piece of a file's body, which lies at `at` of the batch's bytes. */
struct TreeEntry {
  TreeKind kind = TreeKind::kFile;
  std::string path;
  std::string link;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;
  int64_t seconds = 0;
  uint32_t nanos = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  bool last = true;
  size_t at = 0;
  size_t length = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

struct TreeBatch {
  std::vector<TreeEntry> entries;
  std::unique_ptr<uint8_t[]> bytes;
  size_t size = 0;
};

/** What an entry is, without its link's target, attributes and path. */
TreeEntry DescribeEntry(const MergedTree& tree, const MergedEntry& found);

/**
 * Walks from `path` of the tree downwards: each folder before what is in it, names in order of their bytes, paths relative to where
 * it began (empty = that itself). Links are told, not followed; a file with several names comes once, then as hard links.
 * Sockets, and what goes while we are at it, are passed over; a file has the bytes it had when it was met, zeros where it
 * shrank since. Attributes: user.* and security.capability. `raw`: whiteouts and opaque folders are told; one layer only.
 */
class TreeWalk {
 public:
  TreeWalk(std::vector<TreeLayer> layers, const std::string& path, bool raw);

  /** Some entries; none at the end. Not from two threads at once. Throws SysError naming the path. */
  TreeBatch Next();

 private:
  struct Level {
    MergedFolder folder;
    std::vector<std::string> names;
    size_t next = 0;
    std::string path;
  };

  void Step(TreeBatch& batch);
  void Meet(TreeBatch& batch, MergedEntry entry, const std::string& path);
  void Enter(MergedFolder folder, const std::string& path);
  bool AddFile(TreeBatch& batch, const MergedEntry& found, TreeEntry entry);
  void AddPiece(TreeBatch& batch, TreeEntry entry);
  void AddAttributes(int fd, size_t layer, TreeEntry& entry) const;

  MergedTree tree_;
  bool raw_;
  /** Holds the folder of a start that is a file. */
  std::vector<MergedFolder> way_;
  std::optional<MergedEntry> start_;
  std::vector<Level> levels_;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  /** The file whose body is being read, and how much of it is left. */
  Fd body_;
  TreeEntry body_entry_;
  uint64_t body_left_ = 0;
};

}  // namespace covey
