#include "syscall_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "fd.h"
#include "oci_reader.h"

namespace covey {
namespace {

using nlohmann::json;

#if defined(__aarch64__)
constexpr uint32_t kOwnArch = AUDIT_ARCH_AARCH64, kSiblingArch = AUDIT_ARCH_ARM;
#else
constexpr uint32_t kOwnArch = AUDIT_ARCH_X86_64, kSiblingArch = AUDIT_ARCH_I386;
#endif
/** More profiles than one host's services have in use at once; the least recently used goes first. */
constexpr size_t kProfilesKept = 32;
constexpr uint32_t kErrnoMax = 4095;

const std::map<std::string, uint32_t> kArchitectures = {
    {"SCMP_ARCH_X86", SCMP_ARCH_X86},         {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
    {"SCMP_ARCH_X32", SCMP_ARCH_X32},         {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
    {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64}, {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},   {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
    {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},   {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},         {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},     {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    {"SCMP_ARCH_S390", SCMP_ARCH_S390},       {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},   {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
    {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64}};

const std::map<std::string, scmp_compare> kOperators = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                        {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                        {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                        {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                        {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                        {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

const std::map<std::string, uint32_t> kFlags = {
    {"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
    {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
    {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW}};

// Calls younger than the library. Since 424 a number is the same on every architecture, so a profile that forbids one
// of these is not silently weaker for it. Source: the kernel's scripts/syscall.tbl.
const std::map<std::string, int> kYoungCalls = {
    {"cachestat", 451},         {"fchmodat2", 452},         {"map_shadow_stack", 453}, {"futex_wake", 454},
    {"futex_wait", 455},        {"futex_requeue", 456},     {"statmount", 457},        {"listmount", 458},
    {"lsm_get_self_attr", 459}, {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},        {"listxattrat", 465},      {"removexattrat", 466},
    {"open_tree_attr", 467},    {"file_getattr", 468},      {"file_setattr", 469}};

struct Context {
  scmp_filter_ctx at;
  explicit Context(uint32_t action) : at(seccomp_init(action)) {}
  ~Context() { seccomp_release(at); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

template <typename Value>
Value Named(const std::map<std::string, Value>& known, const std::string& name, const std::string& field) {
  const auto found = known.find(name);
  if (found != known.end()) return found->second;
  throw InvalidInput("linux.seccomp." + field, "\"" + name + "\" is not known");
}

void Must(int outcome, const std::string& what) {
  if (outcome < 0) throw SysError{-outcome, "libseccomp", what};
}

uint32_t ErrnoOf(const json& item, const char* key, uint32_t fallback) {
  const int64_t number = NumberOr(item, key, fallback);
  if (number < 0 || number > kErrnoMax) {
    throw InvalidInput(std::string("linux.seccomp.") + key,
                       std::to_string(number) + " is not an error number from 0 to 4095");
  }
  return static_cast<uint32_t>(number);
}

/** The action of a rule; EPERM where an error number is left out. */
uint32_t ActionOf(const json& item, const char* key, const char* errno_key) {
  const std::string name = TextOr(item, key, "");
  const std::string field = std::string("linux.seccomp.") + key;
  const uint32_t number = ErrnoOf(item, errno_key, EPERM);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(number);
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(number);
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_NOTIFY")
    throw InvalidInput(field, "SCMP_ACT_NOTIFY needs a listener, which this core does not run");
  throw InvalidInput(field, "\"" + name + "\" is not an action");
}

uint64_t ArgumentValue(const json& item, const char* key) {
  const auto found = item.find(key);
  if (found == item.end() || found->is_null()) return 0;
  if (!found->is_number_integer())
    throw InvalidInput(std::string("linux.seccomp.syscalls.args.") + key, "must be an integer");
  // -1 in a profile means all bits, as the kernel sees the argument.
  return found->is_number_unsigned() ? found->get<uint64_t>() : static_cast<uint64_t>(found->get<int64_t>());
}

std::vector<scmp_arg_cmp> ArgumentsOf(const json& rule) {
  std::vector<scmp_arg_cmp> arguments;
  for (const json& item : ArrayOr(rule, "args")) {
    if (!item.is_object()) throw InvalidInput("linux.seccomp.syscalls.args", "must hold objects");
    const int64_t index = NumberOr(item, "index", -1);
    if (index < 0 || index > 5) throw InvalidInput("linux.seccomp.syscalls.args.index", "must be 0 to 5");
    arguments.push_back({static_cast<unsigned>(index),
                         Named(kOperators, TextOr(item, "op", ""), "syscalls.args.op"),
                         ArgumentValue(item, "value"), ArgumentValue(item, "valueTwo")});
  }
  return arguments;
}

/** Conditions on different arguments must all hold; several on one argument are alternatives, as in runc and Docker. */
void AddRule(const Context& context, uint32_t action, int number, const std::string& name,
             const std::vector<scmp_arg_cmp>& arguments) {
  uint32_t seen = 0;
  bool repeats = false;
  for (const scmp_arg_cmp& argument : arguments) {
    repeats |= (seen >> argument.arg & 1) != 0;
    seen |= 1u << argument.arg;
  }
  if (!repeats) {
    Must(seccomp_rule_add_array(context.at, action, number, static_cast<unsigned>(arguments.size()),
                                arguments.data()),
         name);
    return;
  }
  for (const scmp_arg_cmp& argument : arguments)
    Must(seccomp_rule_add_array(context.at, action, number, 1, &argument), name);
}

/** What a profile says of calls that the library does not know: number and action. */
using YoungRules = std::vector<std::pair<int, uint32_t>>;

/** One rule's names; `highest` becomes the highest number among the calls of all. */
void AddNames(const Context& context, const json& rule, uint32_t standard, YoungRules& young, int& highest) {
  const uint32_t action = ActionOf(rule, "action", "errnoRet");
  const std::vector<scmp_arg_cmp> arguments = ArgumentsOf(rule);
  const std::vector<std::string> names = TextsOr(rule, "names");
  if (names.empty()) throw InvalidInput("linux.seccomp.syscalls.names", "is empty");
  for (const std::string& name : names) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    const auto found = kYoungCalls.find(name);
    if (number != __NR_SCMP_ERROR) {
      highest = std::max(highest, number);
      // The library refuses a rule that says what the default says.
      if (action != standard) AddRule(context, action, number, name, arguments);
    } else if (found != kYoungCalls.end()) {
      if (!arguments.empty())
        throw InvalidInput("linux.seccomp.syscalls.args",
                           "conditions on \"" + name + "\" need a newer libseccomp");
      highest = std::max(highest, found->second);
      if (action != standard) young.emplace_back(found->second, action);
    }
  }
}

FilterProgram Export(const Context& context) {
  const Fd file{memfd_create("seccomp", MFD_CLOEXEC)};
  if (!file) throw SysError{errno, "memfd_create"};
  Must(seccomp_export_bpf(context.at, file.get()), "export");
  const off_t size = lseek(file.get(), 0, SEEK_END);
  FilterProgram program(static_cast<size_t>(std::max<off_t>(size, 0)) / sizeof(sock_filter));
  const size_t bytes = program.size() * sizeof(sock_filter);
  if (pread(file.get(), program.data(), bytes, 0) != static_cast<ssize_t>(bytes))
    throw SysError{errno, "pread", "seccomp"};
  return program;
}

/** "A newer call than `highest` is ENOSYS", to be put in front of a program: jumps are relative. */
FilterProgram NewCallsAbsent(int highest) {
  return {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kOwnArch, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<uint32_t>(highest), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
}

/**
 * The rules for calls that the library does not know, to be put in front of a program; the first of a call counts. They
 * hold on this machine's architecture and on its 32-bit sibling, which have one table for them; on others the program
 * decides.
 */
FilterProgram YoungCalls(const YoungRules& rules) {
  if (rules.empty()) return {};
  FilterProgram checks = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const auto& [number, action] : rules) {
    checks.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
    checks.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  }
  FilterProgram program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kOwnArch, 2, 0),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSiblingArch, 1, 0),
                           BPF_STMT(BPF_JMP | BPF_JA, static_cast<uint32_t>(checks.size()))};
  Append(program, checks);
  return program;
}

void RefuseListener(const json& profile) {
  for (const char* key : {"listenerPath", "listenerMetadata"}) {
    if (!TextOr(profile, key, "").empty())
      throw InvalidInput(std::string("linux.seccomp.") + key, "listeners are not supported");
  }
}

}  // namespace

SeccompFilter TranslateSeccomp(const json& profile) {
  RefuseListener(profile);
  SeccompFilter filter;
  const uint32_t standard = ActionOf(profile, "defaultAction", "defaultErrnoRet");
  const Context context(standard);
  if (context.at == nullptr) throw SysError{ENOMEM, "seccomp_init"};
  for (const std::string& flag : TextsOr(profile, "flags")) filter.flags |= Named(kFlags, flag, "flags");
  for (const std::string& name : TextsOr(profile, "architectures")) {
    const int outcome = seccomp_arch_add(context.at, Named(kArchitectures, name, "architectures"));
    if (outcome == -EEXIST) continue;
    if (outcome < 0)
      throw InvalidInput("linux.seccomp.architectures", name + " does not go with this host's");
  }
  // A tree instead of a chain: ten comparisons for a call instead of hundreds. Older libraries have none.
  seccomp_attr_set(context.at, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  YoungRules young;
  int highest = 0;
  for (const json& rule : ArrayOr(profile, "syscalls")) {
    if (!rule.is_object()) throw InvalidInput("linux.seccomp.syscalls", "must hold objects");
    AddNames(context, rule, standard, young, highest);
  }
  const bool refuses = (standard & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
  if (refuses && highest > 0) filter.program = NewCallsAbsent(highest);
  Append(filter.program, YoungCalls(young));
  Append(filter.program, Export(context));
  return filter;
}

SeccompFilter BuildSeccomp(const json& profile) {
  SeccompFilter filter = TranslateSeccomp(profile);
  std::vector<uint32_t> arches = {kOwnArch};
  bool known = true;
  for (const std::string& name : TextsOr(profile, "architectures")) {
    const uint32_t arch = kArchitectures.at(name);
    // The library's tokens are the kernel's numbers, but for x32, which shares one with x86-64.
    if (arch == kSiblingArch)
      arches.push_back(arch);
    else if (arch != kOwnArch)
      known = false;
  }
  if (known) {
    FilterProgram shaped = DispatchByNumber(filter.program, arches);
    if (shaped.size() < filter.program.size()) filter.program = std::move(shaped);
  }
  if (filter.program.size() > BPF_MAXINSNS) {
    throw InvalidInput("linux.seccomp", "the profile needs " + std::to_string(filter.program.size()) +
                                            " instructions, the kernel takes 4096");
  }
  return filter;
}

namespace {

/** Filters of what was asked for last, found again by `Key`. Thread-safe. */
template <typename Key>
class Kept {
 public:
  /** With the lock held while building: a burst of starts with one profile builds it once. */
  template <typename Build>
  std::shared_ptr<const SeccompFilter> Find(const Key& key, Build build) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found =
        std::find_if(kept_.begin(), kept_.end(), [&](const auto& one) { return one.first == key; });
    if (found != kept_.end()) {
      std::rotate(kept_.begin(), found, found + 1);
      return kept_.front().second;
    }
    std::shared_ptr<const SeccompFilter> filter = build();
    if (!filter) return nullptr;
    if (kept_.size() == kProfilesKept) kept_.pop_back();
    kept_.insert(kept_.begin(), {key, filter});
    return filter;
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<Key, std::shared_ptr<const SeccompFilter>>> kept_;  // the most recently used first
};

}  // namespace

std::shared_ptr<const SeccompFilter> SeccompFor(const json& profile) {
  static Kept<json> kept;
  return kept.Find(profile, [&] { return std::make_shared<const SeccompFilter>(BuildSeccomp(profile)); });
}

std::shared_ptr<const SeccompFilter> SeccompForText(const std::string& profile) {
  static Kept<std::string> kept;
  return kept.Find(profile, [&]() -> std::shared_ptr<const SeccompFilter> {
    const json parsed = json::parse(profile, nullptr, false);
    if (!parsed.is_object() || parsed.empty()) return nullptr;
    return std::make_shared<const SeccompFilter>(BuildSeccomp(parsed));
  });
}

uint32_t SeccompVerdict(const SeccompFilter& filter, int number, const uint64_t (&args)[6]) {
  seccomp_data data{};
  data.nr = number;
  data.arch = kOwnArch;
  std::copy(std::begin(args), std::end(args), std::begin(data.args));
  return RunFilter(filter.program, data);
}

void PlanSeccomp(PlanWriter& plan, const json& process, const SeccompFilter& filter, bool reaper) {
  struct Needed {
    const char* name;
    int number;
    const char* why;
  };
  std::vector<Needed> needed = {{"execve", SYS_execve, "which runs the container's own command"}};
  if (!FlagOr(process, "noNewPrivileges", false))
    needed.push_back({"capset", SYS_capset, "which a container without noNewPrivileges needs to be started"});
  if (reaper) {
    needed.push_back({"clone", SYS_clone, "which an init needs to run the command"});
    needed.push_back({"wait4", SYS_wait4, "which an init needs to reap processes"});
    needed.push_back({"rt_sigtimedwait", SYS_rt_sigtimedwait, "which an init needs to wait for signals"});
  }
  for (const auto& [name, number, why] : needed) {
    const uint32_t verdict = SeccompVerdict(filter, number, {SIGCHLD}) & SECCOMP_RET_ACTION_FULL;
    if (verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_LOG) continue;
    throw InvalidInput("linux.seccomp", std::string("the profile does not allow ") + name + ", " + why);
  }
  plan.Op(PLAN_SECCOMP, "linux.seccomp")
      .Number(filter.flags)
      .Bytes(filter.program.data(), filter.program.size() * sizeof(sock_filter));
}

}  // namespace covey
