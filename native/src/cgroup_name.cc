#include "cgroup_name.h"

#include "cgroup_files.h"
#include "sys_error.h"

namespace covey {
namespace {

constexpr char kPathField[] = "linux.cgroupsPath";
constexpr char kSliceEnd[] = ".slice";

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/** One slash before each part, none at the end; no part may lead upwards. */
std::string CleanPath(const std::string& text) {
  std::string clean;
  for (const std::string& part : SplitText(text, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") throw InvalidInput(kPathField, "must not lead upwards with \"..\"");
    clean += "/" + part;
  }
  if (clean.empty()) throw InvalidInput(kPathField, "must be below the root cgroup");
  return clean;
}

CgroupName ScopeIn(const std::string& slice, const std::string& prefix, const std::string& name) {
  if (name.empty()) throw InvalidInput(kPathField, "SLICE:PREFIX:NAME needs a name");
  if ((prefix + name).find('/') != std::string::npos)
    throw InvalidInput(kPathField, "a unit's name has no \"/\"");
  CgroupName found;
  found.unit.slice = slice.empty() ? "system.slice" : slice;
  if (EndsWith(name, kSliceEnd)) throw InvalidInput(kPathField, "a container is a scope, not a slice");
  found.unit.scope = prefix.empty() ? name + ".scope" : prefix + "-" + name + ".scope";
  found.path = SlicePath(found.unit.slice) + "/" + found.unit.scope;
  return found;
}

}  // namespace

std::string SlicePath(const std::string& slice) {
  if (slice == "-" || slice == "-.slice") return "";
  if (!EndsWith(slice, kSliceEnd) || slice.find('/') != std::string::npos || slice[0] == '.')
    throw InvalidInput(kPathField, "\"" + slice + "\" is no slice: it must end in .slice");
  const std::string stem = slice.substr(0, slice.size() - (sizeof kSliceEnd - 1));
  std::string path, so_far;
  // getline forgets an empty part at the end, so a dash there is looked for by itself.
  if (EndsWith(stem, "-")) throw InvalidInput(kPathField, "\"" + slice + "\" is no slice: a part is empty");
  for (const std::string& part : SplitText(stem, '-')) {
    if (part.empty()) throw InvalidInput(kPathField, "\"" + slice + "\" is no slice: a part is empty");
    so_far += (so_far.empty() ? "" : "-") + part;
    path += "/" + so_far + kSliceEnd;
  }
  return path;
}

CgroupName ParseCgroupsPath(const std::string& text, const std::string& parent, const std::string& id) {
  if (text.find(':') != std::string::npos && text[0] != '/') {
    const size_t first = text.find(':'), second = text.find(':', first + 1);
    if (second == std::string::npos || text.find(':', second + 1) != std::string::npos)
      throw InvalidInput(kPathField, "is neither a path nor SLICE:PREFIX:NAME");
    return ScopeIn(text.substr(0, first), text.substr(first + 1, second - first - 1),
                   text.substr(second + 1));
  }
  if (text.empty()) return {.path = CleanPath(parent + "/" + id), .unit = {}};
  return {.path = CleanPath(text[0] == '/' ? text : parent + "/" + text), .unit = {}};
}

}  // namespace covey
