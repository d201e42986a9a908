#include "units_runtime.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "../runtime/arguments.h"
#include "../runtime/record.h"
#include "../src/process.h"
#include "../src/sys_error.h"

namespace units_runtime {
namespace {

using covey::Arguments;
using covey::Operands;

int failures = 0;

void Check(bool holds, const char* what) {
  if (holds) return;
  printf("does not hold: %s\n", what);
  failures++;
}

bool IsRefused(const std::function<void()>& act) {
  try {
    act();
  } catch (const covey::UsageError&) {
    return true;
  }
  return false;
}

const std::vector<covey::Option> kOptions = {
    {"root", 'r', true}, {"debug", '\0', false}, {"tty", 't', false}};

std::vector<std::string> OperandsOf(const std::vector<std::string>& words, Operands kind) {
  size_t at = 0;
  return Arguments(words, at, kOptions, kind).operands();
}

void CommandLines() {
  size_t at = 0;
  const std::vector<std::string> words = {"--root", "/a", "-r=/b", "--debug=false", "-tty", "run", "-x"};
  const Arguments arguments(words, at, kOptions, Operands::kLeft);
  Check(at == 5 && arguments.operands().empty(), "a command is left to its own reader");
  Check(arguments.Value("root") == "/b" && arguments.Values("root").size() == 2, "the last value counts");
  Check(arguments.Has("tty") && !arguments.Has("debug"), "one dash before a long name; false is not said");
  using Words = std::vector<std::string>;
  Check(OperandsOf({"id", "-x", "--"}, Operands::kRest) == Words{"id", "-x", "--"}, "all from the first on");
  Check(OperandsOf({"id", "-t", "--", "-x"}, Operands::kMixed) == Words{"id", "-x"}, "options between");
  for (const Words& bad : {Words{"--root"}, Words{"--none"}, Words{"-x"}, Words{"--tty=5"}, Words{"---"}}) {
    Check(IsRefused([&] { OperandsOf(bad, Operands::kMixed); }), bad[0].c_str());
  }
  for (const char* bad : {"", "-1", "1x", " ", "2147483648", "99999999999999999999"}) {
    Check(IsRefused([&] { covey::NumberOf("signal", bad); }), bad);
  }
  for (const char* bad : {"", ".", "..", "a/b", "a b", "\xc3\xa4"}) {
    Check(IsRefused([&] { covey::CheckId(bad); }), bad);
  }
}

/** The errno with which a container of these files cannot be read, 0 when it can. */
int ErrorOf(const std::string& root, const std::string& container, const std::string& state) {
  covey::WriteRecord(root + "/a", "container.json", container);
  unlink((root + "/a/state.json").c_str());
  if (!state.empty()) covey::WriteRecord(root + "/a", "state.json", state);
  try {
    covey::ReadRecord(root, "a");
  } catch (const covey::SysError& e) {
    return e.error();
  }
  return 0;
}

void Records() {
  std::string root = "/tmp/covey-units-XXXXXX";
  if (mkdtemp(root.data()) == nullptr) return Check(false, "there is a folder for files");
  covey::MakeFolder(root, "a");
  const std::string whole =
      R"({"id":"a","bundle":"/b","rootfs":"/r","annotations":{},"cgroup":"/c","created":"","bootId":"x",)"
      R"("creator":{"pid":1,"startTime":5}})";
  Check(ErrorOf(root, whole, "") == 0, "a container that is being made");
  Check(ErrorOf(root, whole, R"({"bootId":"x","pid":1,"startTime":5})") == 0, "one of an earlier boot");
  for (const char* bad : {"", "{}", "[]", "{\"id\":1}"}) Check(ErrorOf(root, bad, "") == EBADMSG, bad);
  for (const char* bad : {"{}", "[]", "{", R"({"bootId":"x","pid":1e300,"startTime":5})",
                          R"({"bootId":"x","pid":-1,"startTime":5})", R"({"bootId":1,"pid":1})"}) {
    Check(ErrorOf(root, whole, bad) == EBADMSG, bad);
  }
  std::filesystem::remove_all(root);
}

}  // namespace

int Failures() {
  CommandLines();
  Records();
  return failures;
}

}  // namespace units_runtime
