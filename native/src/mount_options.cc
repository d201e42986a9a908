#include "mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <map>

namespace covey {
namespace {

// Source: linux/mount.h; spelled here because glibc's and the kernel's headers do not mix.
constexpr uint64_t kReadOnly = 0x1, kNoSuid = 0x2, kNoDev = 0x4, kNoExec = 0x8, kTimeMask = 0x70,
                   kNoAtime = 0x10, kStrictAtime = 0x20, kNoDirAtime = 0x80, kNoSymFollow = 0x200000;

// Each also with an `r` before it, for everything below. `norelatime` and `nostrictatime` mean the kernel's default.
const std::map<std::string, MountAttributes> kAttributes = {
    {"ro", {kReadOnly, 0}},
    {"rw", {0, kReadOnly}},
    {"nosuid", {kNoSuid, 0}},
    {"suid", {0, kNoSuid}},
    {"nodev", {kNoDev, 0}},
    {"dev", {0, kNoDev}},
    {"noexec", {kNoExec, 0}},
    {"exec", {0, kNoExec}},
    {"noatime", {kNoAtime, kTimeMask}},
    {"atime", {0, kTimeMask}},
    {"strictatime", {kStrictAtime, kTimeMask}},
    {"nostrictatime", {0, kTimeMask}},
    {"relatime", {0, kTimeMask}},
    {"norelatime", {0, kTimeMask}},
    {"nodiratime", {kNoDirAtime, 0}},
    {"diratime", {0, kNoDirAtime}},
    {"nosymfollow", {kNoSymFollow, 0}},
    {"symfollow", {0, kNoSymFollow}},
};

const std::map<std::string, uint64_t> kPropagation = {
    {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
    {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
    {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
    {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
};

// Of mount(8), without a meaning of their own here: what they ask for is the default.
const char* const kDefaults[] = {"defaults", "silent", "loud"};

void Apply(MountAttributes& to, const MountAttributes& attribute) {
  to.set = (to.set & ~attribute.clear) | attribute.set;
  to.clear = (to.clear & ~attribute.set) | attribute.clear;
}

bool Flag(MountOptions& options, const std::string& text) {
  if (text == "bind" || text == "rbind") {
    options.bind = true;
    options.recursive = text == "rbind";
  } else if (text == "idmap" || text == "ridmap") {
    options.idmap = true;
    options.idmap_recursive = text == "ridmap";
  } else if (text == "remount") {
    options.remount = true;
  } else if (text == "tmpcopyup") {
    options.copy_up = true;
  } else {
    return std::find(std::begin(kDefaults), std::end(kDefaults), text) != std::end(kDefaults);
  }
  return true;
}

}  // namespace

MountOptions SortMountOptions(const std::vector<std::string>& texts) {
  MountOptions options;
  for (const std::string& text : texts) {
    const auto attribute = kAttributes.find(text);
    const auto below =
        text.size() > 1 && text[0] == 'r' ? kAttributes.find(text.substr(1)) : kAttributes.end();
    const auto propagation = kPropagation.find(text);
    if (attribute != kAttributes.end()) {
      Apply(options.top, attribute->second);
    } else if (propagation != kPropagation.end()) {
      options.propagation = propagation->second;
    } else if (below != kAttributes.end()) {
      Apply(options.below, below->second);
    } else if (!Flag(options, text)) {
      options.data.push_back(text);
    }
  }
  return options;
}

uint64_t PropagationOf(const std::string& text) {
  const auto found = kPropagation.find(text);
  return found == kPropagation.end() ? 0 : found->second;
}

std::vector<std::string> KnownMountOptions() {
  std::vector<std::string> names{"bind", "rbind", "idmap", "ridmap", "remount", "tmpcopyup"};
  for (const auto& [name, attribute] : kAttributes) {
    names.push_back(name);
    names.push_back("r" + name);
  }
  for (const auto& [name, propagation] : kPropagation) names.push_back(name);
  for (const char* name : kDefaults) names.emplace_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace covey
