// Shaped filters against libseccomp's own: the same answer for every number of a call and, where arguments count, for
// arguments around every constant of the program; by this core's reading of BPF, and by the kernel's.
#include "units_filters.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../src/filter_program.h"
#include "../src/syscall_filter.h"

namespace units_filters {
namespace {

using covey::FilterProgram;
using nlohmann::json;

int failures = 0;

void Expect(bool ok, const std::string& what) {
  if (ok) return;
  printf("failed: %s\n", what.c_str());
  failures++;
}

/** Every operator and action, calls younger than the library, and rules that say what the default says. */
const char* const kMixed = R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
  {"names": ["read", "write", "open", "close", "bind", "connect", "statmount", "mseal"], "action": "SCMP_ACT_ALLOW"},
  {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}, {"names": ["rmdir"], "action": "SCMP_ACT_TRAP"},
  {"names": ["socket", "clone"], "action": "SCMP_ACT_ALLOW", "args": [
    {"index": 0, "value": 40, "op": "SCMP_CMP_LT"}, {"index": 0, "value": 7, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 3}]},
  {"names": ["setuid"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 4294967296, "op": "SCMP_CMP_GE"}]},
  {"names": ["mmap"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 5, "value": 8589934593, "op": "SCMP_CMP_GT"},
    {"index": 2, "value": 6, "op": "SCMP_CMP_NE"}, {"index": 3, "value": 34, "op": "SCMP_CMP_LE"}]},
  {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS", "args": [
    {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 9, "op": "SCMP_CMP_NE"}]}]})";

/** What is forbidden by number, with all else allowed. */
const char* const kForbidding =
    R"({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
  {"names": ["ptrace", "kexec_load", "statmount"], "action": "SCMP_ACT_KILL_PROCESS"},
  {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 21522, "op": "SCMP_CMP_EQ"}]}]})";

/** The default profile for x86-64 and `capabilities`; the whole of its conditions is agent/runtime/seccomp.ts. */
json Resolved(const json& profile, const std::set<std::string>& capabilities) {
  json rules = json::array();
  for (const json& rule : profile.at("syscalls")) {
    const json includes = rule.value("includes", json::object()),
               excludes = rule.value("excludes", json::object());
    bool holds = true;
    for (const auto& name : includes.value("caps", std::vector<std::string>{}))
      holds &= capabilities.count(name) != 0;
    for (const auto& name : excludes.value("caps", std::vector<std::string>{}))
      holds &= capabilities.count(name) == 0;
    const auto arches = includes.value("arches", std::vector<std::string>{"amd64"});
    holds &= arches.front() == "amd64";
    if (holds) rules.push_back(rule);
  }
  return {{"defaultAction", profile.at("defaultAction")},
          {"defaultErrnoRet", profile.at("defaultErrnoRet")},
          {"architectures", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}},
          {"syscalls", rules}};
}

/** All numbers below 1200, those of x32, and the neighbours of whatever the program compares with. */
std::set<uint32_t> NumbersOf(const FilterProgram& program) {
  std::set<uint32_t> numbers = {0x3fffffff, 0x7fffffff, 0xffffffff};
  for (uint32_t number = 0; number < 1200; number++) {
    numbers.insert(number);
    numbers.insert(number | 0x40000000);
  }
  for (const sock_filter& step : program) numbers.insert({step.k - 1, step.k, step.k + 1});
  return numbers;
}

using Arguments = std::array<uint64_t, 6>;

/**
 * Arguments for a call whose answer depends on them: each word of each argument becomes each constant that the program's
 * part for it compares with or masks by, its neighbours and its complement, among small, large and random others.
 */
std::vector<Arguments> ShapesOf(const FilterProgram& program, size_t first) {
  std::set<uint32_t> constants = {0, 1, UINT32_MAX};
  size_t at = first;
  // What follows the first look at an argument, as far as a call's part can be; parts of others do no harm.
  for (; at < program.size() && at < first + 160; at++) {
    const uint32_t k = program[at].k;
    if (BPF_CLASS(program[at].code) == BPF_JMP || BPF_CLASS(program[at].code) == BPF_ALU)
      constants.insert({k - 1, k, k + 1, ~k});
  }
  static std::mt19937_64 random(3);
  std::vector<Arguments> shapes;
  for (const uint64_t rest : {uint64_t{0}, UINT64_MAX, uint64_t{1}}) {
    Arguments arguments;
    arguments.fill(rest);
    shapes.push_back(arguments);
  }
  for (size_t argument = 0; argument < 6; argument++) {
    for (const uint32_t constant : constants) {
      for (const int upper : {0, 1}) {
        Arguments arguments{};
        for (uint64_t& other : arguments) other = random() >> random() % 64;
        arguments[argument] = upper ? uint64_t{constant} << 32 | (random() & 3) : constant;
        shapes.push_back(arguments);
      }
    }
  }
  return shapes;
}

struct Call {
  uint32_t arch, number;
  Arguments arguments;
};

std::vector<Call> CallsFor(const FilterProgram& program) {
  std::vector<Call> calls;
  for (const uint32_t arch :
       {uint32_t{AUDIT_ARCH_X86_64}, uint32_t{AUDIT_ARCH_I386}, uint32_t{AUDIT_ARCH_AARCH64}, 0u}) {
    for (const uint32_t number : NumbersOf(program)) {
      const covey::FilterRun run = covey::RunFilterByNumber(program, arch, number);
      if (!run.reads_arguments) {
        calls.push_back({arch, number, {number, ~uint64_t{number}, 0, 1, 2, 3}});
        continue;
      }
      for (const Arguments& shape : ShapesOf(program, run.at)) calls.push_back({arch, number, shape});
    }
  }
  return calls;
}

uint32_t AnswerOf(const FilterProgram& program, const Call& call) {
  seccomp_data data{};
  data.arch = call.arch;
  data.nr = static_cast<int>(call.number);
  std::copy(call.arguments.begin(), call.arguments.end(), std::begin(data.args));
  return covey::RunFilter(program, data);
}

/** The program with an error number of its own for each answer, so that no call is carried out when the kernel is asked. */
FilterProgram Harmless(FilterProgram program, const std::map<uint32_t, uint32_t>& places) {
  for (sock_filter& step : program)
    if (BPF_CLASS(step.code) == BPF_RET) step.k = SECCOMP_RET_ERRNO | places.at(step.k);
  return program;
}

/** What the kernel answers on x86-64, as places; the child's way out is the number that no program has. */
std::vector<uint32_t> AskKernel(FilterProgram program, const std::vector<Call>& calls) {
  constexpr long kWayOut = 0x3ffffff0;
  program.insert(program.begin(), {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[5])),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kWayOut, 0, 3),
                                   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
                                   BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)});
  const size_t bytes = (calls.size() + 1) * sizeof(uint32_t);
  auto* answers =
      static_cast<uint32_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  if (answers == MAP_FAILED) return {};
  const pid_t child = fork();
  if (child == 0) {
    const sock_fprog whole = {static_cast<unsigned short>(program.size()), program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole) != 0)
      _exit(1);
    for (size_t i = 0; i < calls.size(); i++) {
      const Arguments& a = calls[i].arguments;
      const long answer = syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
      answers[i] = answer == -1 ? static_cast<uint32_t>(errno) : 0;
    }
    syscall(SYS_exit_group, 0, 0, 0, 0, 0, kWayOut);
  }
  int status = -1;
  waitpid(child, &status, 0);
  std::vector<uint32_t> copy(answers, answers + calls.size());
  munmap(answers, bytes);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) copy.clear();
  return copy;
}

/** On x86-64 the kernel answers by itself to -1 (no call) and to uretprobe and uprobe, which its own trampolines make. */
bool IsFiltered(uint32_t number) { return number != UINT32_MAX && number != 335 && number != 336; }

void Compare(const std::string& name, const json& profile) {
  const FilterProgram whole = covey::TranslateSeccomp(profile).program;
  const FilterProgram shaped = covey::DispatchByNumber(whole, {AUDIT_ARCH_X86_64, AUDIT_ARCH_I386});
  const std::vector<Call> calls = CallsFor(whole);
  std::vector<Call> own;
  std::map<uint32_t, uint32_t> places;
  for (const sock_filter& step : whole)
    if (BPF_CLASS(step.code) == BPF_RET) places.emplace(step.k, 1000 + places.size());
  size_t different = 0;
  for (const Call& call : calls) {
    different += AnswerOf(whole, call) == AnswerOf(shaped, call) ? 0 : 1;
    if (call.arch == AUDIT_ARCH_X86_64 && IsFiltered(call.number)) own.push_back(call);
  }
  Expect(different == 0, name + ": " + std::to_string(different) + " calls are answered differently");
  const std::vector<uint32_t> before = AskKernel(Harmless(whole, places), own);
  const std::vector<uint32_t> after = AskKernel(Harmless(shaped, places), own);
  Expect(before.size() == own.size() && before == after, name + ": the kernel answers otherwise");
  size_t misread = 0;
  for (size_t i = 0; i < after.size(); i++)
    misread += after[i] == places.at(AnswerOf(shaped, own[i])) ? 0 : 1;
  Expect(misread == 0,
         name + ": the kernel reads " + std::to_string(misread) + " calls otherwise than this core");
}

}  // namespace

int Failures(const char* default_profile) {
#ifdef __x86_64__
  const json profile = json::parse(std::ifstream(default_profile));
  Compare("a mixed profile", json::parse(kMixed));
  Compare("a forbidding profile", json::parse(kForbidding));
  Compare("the default profile", Resolved(profile, {}));
  Compare("the default profile of an administrator",
          Resolved(profile, {"CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_BOOT", "CAP_SYS_TIME", "CAP_BPF"}));
#endif
  return failures;
}

}  // namespace units_filters
