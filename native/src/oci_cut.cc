#include "oci_cut.h"

#include <string_view>

namespace covey {
namespace {

/** Below it parsing costs less than remembering. */
constexpr size_t kWorthCutting = 1024;

/** Walks over JSON without judging it; -1 where it is not what it seemed. */
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  size_t at = 0;

  bool Is(char expected) {
    while (at < text_.size() && IsSpace(text_[at])) at++;
    return at < text_.size() && text_[at] == expected;
  }

  bool Take(char expected) {
    if (!Is(expected)) return false;
    at++;
    return true;
  }

  /** A string without its quotes; nothing for one with escapes, whose text is not what it says. */
  std::optional<std::string_view> PlainString() {
    if (!Is('"')) return std::nullopt;
    const size_t from = at + 1;
    if (!SkipString()) return std::nullopt;
    const std::string_view inner = text_.substr(from, at - 1 - from);
    if (inner.find('\\') != std::string_view::npos) return std::nullopt;
    return inner;
  }

  /** To the end of the value that begins here. */
  bool SkipValue() {
    if (Is('"')) return SkipString();
    if (!Is('{') && !Is('[')) {
      at = text_.find_first_of(",]} \t\r\n", at);
      return at != std::string_view::npos;
    }
    for (size_t depth = 0; at < text_.size();) {
      const char c = text_[at];
      if (c == '"') {
        if (!SkipString()) return false;
        continue;
      }
      at++;
      if (c == '{' || c == '[') depth++;
      if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return false;
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

  bool SkipString() {
    for (at++; at < text_.size(); at++) {
      if (text_[at] == '\\') {
        at++;
      } else if (text_[at] == '"') {
        at++;
        return true;
      }
    }
    return false;
  }

  std::string_view text_;
};

struct Span {
  size_t from = 0;
  size_t to = 0;
};

/** Where the value of `wanted` lies in the object that begins at `walk`; nothing when it is there twice or not at all. */
std::optional<Span> ValueOf(Walk walk, std::string_view wanted) {
  std::optional<Span> found;
  if (!walk.Take('{')) return std::nullopt;
  do {
    const std::optional<std::string_view> key = walk.PlainString();
    if (!key || !walk.Take(':')) return std::nullopt;
    walk.Is(' ');  // to where the value begins
    const size_t from = walk.at;
    if (!walk.SkipValue()) return std::nullopt;
    if (*key != wanted) continue;
    if (found) return std::nullopt;
    found = Span{from, walk.at};
  } while (walk.Take(','));
  return walk.Is('}') ? found : std::nullopt;
}

}  // namespace

std::optional<CutConfig> CutSeccomp(const std::string& config) {
  const std::optional<Span> linux = ValueOf(Walk{config}, "linux");
  if (!linux) return std::nullopt;
  Walk inner{config};
  inner.at = linux->from;
  const std::optional<Span> found = ValueOf(inner, "seccomp");
  if (!found || config[found->from] != '{' || found->to - found->from < kWorthCutting) return std::nullopt;
  CutConfig cut{config.substr(0, found->from), config.substr(found->from, found->to - found->from)};
  cut.rest.append("null").append(config, found->to);
  return cut;
}

}  // namespace covey
