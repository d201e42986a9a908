#include "arguments.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace covey {
namespace {

const Option& Find(const std::vector<Option>& options, const std::string& word) {
  const bool is_long = word.rfind("--", 0) == 0;
  const std::string name = word.substr(is_long ? 2 : 1);
  const auto found = std::find_if(options.begin(), options.end(), [&](const Option& option) {
    // Go's flag package, which runc's callers are used to, takes one dash for long names too.
    return name == option.name || (!is_long && name.size() == 1 && name[0] == option.letter);
  });
  if (found == options.end()) throw UsageError("unknown option " + word);
  return *found;
}

}  // namespace

Arguments::Arguments(const std::vector<std::string>& words, size_t& at, const std::vector<Option>& options,
                     Operands operands) {
  for (; at < words.size(); at++) {
    const std::string& word = words[at];
    if (word == "--") {
      at++;
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (operands != Operands::kMixed) break;
      operands_.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const Option& option = Find(options, word.substr(0, equals));
    std::string value;
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
      if (!option.takes_value && value != "true" && value != "false")
        throw UsageError("option --" + std::string(option.name) + " takes no value");
      if (!option.takes_value && value == "false") continue;
    } else if (option.takes_value) {
      if (at + 1 == words.size()) throw UsageError("option " + word + " needs a value");
      value = words[++at];
    }
    values_[option.name].push_back(value);
  }
  if (operands != Operands::kLeft) {
    for (; at < words.size(); at++) operands_.push_back(words[at]);
  }
}

std::string Arguments::Value(const std::string& option, const std::string& fallback) const {
  const auto found = values_.find(option);
  return found == values_.end() ? fallback : found->second.back();
}

std::vector<std::string> Arguments::Values(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

unsigned long NumberOf(const std::string& option, const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const unsigned long value = strtoul(text.c_str(), &end, 10);
  if (text.empty() || text[0] == '-' || *end != '\0' || errno != 0 || value > 0x7fffffff)
    throw UsageError("--" + option + " must be a whole number, not \"" + text + "\"");
  return value;
}

}  // namespace covey
