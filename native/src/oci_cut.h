// Most of a config's text is its system call filter, and mostly the one of the container before: it is recognised as
// text, before anything is parsed.
#pragma once

#include <optional>
#include <string>

namespace covey {

struct CutConfig {
  /** The config with null in place of `linux.seccomp`. */
  std::string rest;
  /** The text of `linux.seccomp`: an object as far as its braces go. */
  std::string seccomp;
};

/**
 * Cuts `linux.seccomp` out of a config's text. Nothing when there is none, when it is too small to be worth it, or when
 * the text is not as plain as tools write it: then the whole is to be parsed. Parsing `rest` and `seccomp` finds every
 * flaw that parsing the whole would find.
 */
std::optional<CutConfig> CutSeccomp(const std::string& config);

}  // namespace covey
