// The command line, as runc's callers write it: global options, a command, its options, its operands.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace covey {

/** A command line that cannot be; the message is for people. */
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Option {
  const char* name;  // without dashes
  char letter;       // '\0' = none
  bool takes_value;
};

/** Where options end: at the first operand, which is left to the next reader (a command) or taken with all that follows
 * (exec, whose command has options of its own), or only at "--". */
enum class Operands { kLeft, kRest, kMixed };

class Arguments {
 public:
  /** Reads words from `at` on and moves it behind the last one taken. Throws UsageError naming the option. */
  Arguments(const std::vector<std::string>& words, size_t& at, const std::vector<Option>& options,
            Operands operands);

  bool Has(const std::string& option) const { return values_.count(option) > 0; }
  /** The last value given, or `fallback`. */
  std::string Value(const std::string& option, const std::string& fallback = "") const;
  /** Every value given, in order. */
  std::vector<std::string> Values(const std::string& option) const;
  const std::vector<std::string>& operands() const { return operands_; }

 private:
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> operands_;
};

/** A whole number of at least 0. Throws UsageError naming the option. */
unsigned long NumberOf(const std::string& option, const std::string& text);

}  // namespace covey
