#include "device_rules.h"

#include <linux/bpf.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oci_reader.h"
#include "sys_error.h"

namespace covey {
namespace {

using nlohmann::json;

constexpr char kField[] = "linux.resources.devices";
/** Ten instructions a rule; kernels before 5.2 take 4096. */
constexpr size_t kRulesMax = 400;

/** Source: Docker's and runc's default. */
std::vector<DeviceRule> DefaultRules() {
  constexpr unsigned all = DeviceRule::kAll, mknod = DeviceRule::kMknod;
  return {{true, 'c', -1, -1, mknod}, {true, 'b', -1, -1, mknod}, {true, 'c', 1, 3, all},
          {true, 'c', 1, 5, all},     {true, 'c', 1, 7, all},     {true, 'c', 1, 8, all},
          {true, 'c', 1, 9, all},     {true, 'c', 5, 0, all},     {true, 'c', 5, 1, all},
          {true, 'c', 5, 2, all},     {true, 'c', 136, -1, all}};
}

int64_t DeviceNumber(const json& rule, const char* key) {
  const auto number = NumberOr(rule, key, -1);
  if (number > UINT32_MAX) throw InvalidInput(kField, "a device's number must fit 32 bits");
  return number < 0 ? -1 : number;
}

DeviceRule ReadRule(const json& from) {
  DeviceRule rule;
  rule.allow = FlagOr(from, "allow", false);
  const std::string type = TextOr(from, "type", "a"), access = TextOr(from, "access", "rwm");
  if (type != "a" && type != "b" && type != "c") throw InvalidInput(kField, "type must be a, b or c");
  if (access.empty() || access.find_first_not_of("rwm") != std::string::npos)
    throw InvalidInput(kField, "access must be made of r, w and m");
  rule.type = type[0];
  rule.major = DeviceNumber(from, "major");
  rule.minor = DeviceNumber(from, "minor");
  rule.access = 0;
  for (const char letter : access)
    rule.access |= letter == 'r'   ? DeviceRule::kRead
                   : letter == 'w' ? DeviceRule::kWrite
                                   : DeviceRule::kMknod;
  return rule;
}

bool IsEverything(const DeviceRule& rule) {
  return rule.type == 'a' && rule.major < 0 && rule.minor < 0 && rule.access == DeviceRule::kAll;
}

/** Whether every device of `inner` is one of `outer`. */
bool Covers(const DeviceRule& outer, const DeviceRule& inner) {
  return (outer.type == 'a' || outer.type == inner.type) && (outer.major < 0 || outer.major == inner.major) &&
         (outer.minor < 0 || outer.minor == inner.minor);
}

bool Overlaps(const DeviceRule& a, const DeviceRule& b) {
  const auto meet = [](int64_t x, int64_t y) { return x < 0 || y < 0 || x == y; };
  return a.type == b.type && meet(a.major, b.major) && meet(a.minor, b.minor);
}

/** What v1 keeps: what is done by default, and the devices with which it is done otherwise. */
struct List {
  bool allow_all = true;
  std::vector<DeviceRule> exceptions;

  void Apply(const DeviceRule& rule) {
    if (IsEverything(rule)) {
      allow_all = rule.allow;
      exceptions.clear();
    } else if (rule.type == 'a') {
      // The kernel takes "a" for everything, whatever stands behind it.
      for (const char type : {'b', 'c'}) {
        DeviceRule one = rule;
        one.type = type;
        Apply(one);
      }
    } else if (rule.allow == allow_all) {
      TakeBack(rule);
    } else {
      Add(rule);
    }
  }

 private:
  void Add(const DeviceRule& rule) {
    for (DeviceRule& known : exceptions) {
      if (!Covers(known, rule) || !Covers(rule, known)) continue;
      known.access |= rule.access;
      return;
    }
    exceptions.push_back(rule);
  }

  void TakeBack(const DeviceRule& rule) {
    for (DeviceRule& known : exceptions) {
      if (!Overlaps(known, rule) || (known.access & rule.access) == 0) continue;
      if (!Covers(rule, known)) {
        throw InvalidInput(kField, "cgroup v1 cannot " + std::string(rule.allow ? "allow" : "deny") + " \"" +
                                       rule.Text() + "\" within \"" + known.Text() + "\"");
      }
      known.access &= ~rule.access;
    }
    std::erase_if(exceptions, [](const DeviceRule& known) { return known.access == 0; });
  }
};

BpfInstruction Instruction(int code, int to, int from, int offset, int number) {
  return {static_cast<uint8_t>(code), static_cast<uint8_t>(to | from << 4), static_cast<int16_t>(offset),
          number};
}

// Registers of the program: kType, kMajor and kMinor of the device, and of the wanted access what no rule has decided.
constexpr int kResult = 0, kContext = 1, kType = 2, kWanted = 3, kMajor = 4, kMinor = 5, kScratch = 6;

void Return(std::vector<BpfInstruction>& code, int result) {
  code.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_K, kResult, 0, 0, result));
  code.push_back(Instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

void AddRule(std::vector<BpfInstruction>& code, const DeviceRule& rule) {
  std::vector<size_t> jumps;
  const auto leave_unless = [&](int reg, int64_t number) {
    jumps.push_back(code.size());
    code.push_back(Instruction(BPF_JMP32 | BPF_JNE | BPF_K, reg, 0, 0, static_cast<int32_t>(number)));
  };
  if (rule.type != 'a') leave_unless(kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
  if (rule.major >= 0) leave_unless(kMajor, rule.major);
  if (rule.minor >= 0) leave_unless(kMinor, rule.minor);
  if (rule.allow) {
    code.push_back(Instruction(BPF_ALU64 | BPF_AND | BPF_K, kWanted, 0, 0,
                               static_cast<int>(DeviceRule::kAll & ~rule.access)));
    jumps.push_back(code.size());
    code.push_back(Instruction(BPF_JMP | BPF_JNE | BPF_K, kWanted, 0, 0, 0));
    Return(code, 1);
  } else {
    code.push_back(Instruction(BPF_ALU64 | BPF_MOV | BPF_X, kScratch, kWanted, 0, 0));
    code.push_back(Instruction(BPF_ALU64 | BPF_AND | BPF_K, kScratch, 0, 0, static_cast<int>(rule.access)));
    jumps.push_back(code.size());
    code.push_back(Instruction(BPF_JMP | BPF_JEQ | BPF_K, kScratch, 0, 0, 0));
    Return(code, 0);
  }
  for (const size_t jump : jumps) code[jump].offset = static_cast<int16_t>(code.size() - jump - 1);
}

}  // namespace

std::string DeviceRule::Text() const {
  const auto number = [](int64_t n) { return n < 0 ? std::string("*") : std::to_string(n); };
  std::string text = std::string(1, type) + " " + number(major) + ":" + number(minor) + " ";
  if (access & kRead) text += 'r';
  if (access & kWrite) text += 'w';
  if (access & kMknod) text += 'm';
  return text;
}

std::vector<DeviceRule> DeviceRulesOf(const json& resources) {
  std::vector<DeviceRule> rules;
  for (const json& from : ArrayOr(resources, "devices")) {
    const DeviceRule rule = ReadRule(from);
    if (IsEverything(rule)) rules.clear();
    rules.push_back(rule);
    if (!IsEverything(rule) || rule.allow) continue;
    const std::vector<DeviceRule> defaults = DefaultRules();
    rules.insert(rules.end(), defaults.begin(), defaults.end());
  }
  return rules;
}

std::vector<DeviceLine> DeviceLines(const std::vector<DeviceRule>& rules) {
  List list;
  for (const DeviceRule& rule : rules) list.Apply(rule);
  std::vector<DeviceLine> lines;
  // What is above may be closed already; then only an exception can be refused, and the kernel says so.
  if (!list.allow_all) lines.push_back({"devices.deny", "a"});
  const std::string file = list.allow_all ? "devices.deny" : "devices.allow";
  // What the config names comes first, in its order: that is how it is read back.
  const std::vector<DeviceRule> defaults = DefaultRules();
  std::stable_partition(list.exceptions.begin(), list.exceptions.end(), [&](const DeviceRule& exception) {
    return std::none_of(defaults.begin(), defaults.end(), [&](const DeviceRule& known) {
      return Covers(known, exception) && Covers(exception, known);
    });
  });
  for (const DeviceRule& exception : list.exceptions) lines.push_back({file, exception.Text()});
  return lines;
}

std::vector<BpfInstruction> DeviceProgram(const std::vector<DeviceRule>& rules) {
  if (rules.size() > kRulesMax) throw InvalidInput(kField, "there are more rules than 400");
  // The context: access in the upper and type in the lower half of the first word, then major and minor.
  std::vector<BpfInstruction> code{
      Instruction(BPF_LDX | BPF_MEM | BPF_W, kType, kContext, 0, 0),
      Instruction(BPF_ALU64 | BPF_MOV | BPF_X, kWanted, kType, 0, 0),
      Instruction(BPF_ALU64 | BPF_AND | BPF_K, kType, 0, 0, 0xffff),
      Instruction(BPF_ALU64 | BPF_RSH | BPF_K, kWanted, 0, 0, 16),
      Instruction(BPF_LDX | BPF_MEM | BPF_W, kMajor, kContext, 4, 0),
      Instruction(BPF_LDX | BPF_MEM | BPF_W, kMinor, kContext, 8, 0),
  };
  for (size_t i = rules.size(); i > 0; i--) AddRule(code, rules[i - 1]);
  // No rule has decided the rest: a cgroup without rules is closed to nothing.
  Return(code, 1);
  return code;
}

}  // namespace covey
