// What reaches covey-runtime: its command line, and the files it keeps of a container.
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "../runtime/arguments.h"
#include "../runtime/record.h"
#include "target.h"

namespace covey_fuzz {
namespace {

constexpr size_t kWordsMax = 16;

void CommandLine(const std::string& input) {
  static const std::vector<covey::Option> options = {
      {"root", 'r', true}, {"debug", '\0', false}, {"process", 'p', true}, {"tty", 't', false}};
  if (input.empty()) return;
  const covey::Operands kinds[] = {covey::Operands::kLeft, covey::Operands::kRest, covey::Operands::kMixed};
  const covey::Operands kind = kinds[static_cast<unsigned char>(input[0]) % 3];
  const std::vector<std::string> words = Parts(input.substr(1), kWordsMax);
  size_t at = 0;
  const covey::Arguments arguments(words, at, options, kind);
  Must(at <= words.size(), "no word is read behind the last one");
  Must(kind == covey::Operands::kLeft || at == words.size(), "every word is taken");
  Must(kind != covey::Operands::kLeft || arguments.operands().empty(), "operands are left");
  Must(!arguments.Has("debug") || arguments.Value("debug", "x") != "false",
       "false is as if it were not said");
  if (arguments.Has("root")) covey::NumberOf("root", arguments.Value("root"));
}

/** A folder of this process for one container "a", gone with it. */
class Shelf {
 public:
  Shelf() {
    std::string path = "/tmp/covey-fuzz-XXXXXX";
    Must(mkdtemp(path.data()) != nullptr, "there is a folder for files");
    root_ = path;
    covey::MakeFolder(root_, "a");
  }
  ~Shelf() { std::filesystem::remove_all(root_); }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

void RecordFiles(const std::string& input) {
  static const Shelf shelf;
  const std::vector<std::string> parts = Parts(input, 2);
  const std::string folder = shelf.root() + "/a";
  covey::WriteRecord(folder, "container.json", parts[0]);
  unlink((folder + "/state.json").c_str());
  if (!parts[1].empty()) covey::WriteRecord(folder, "state.json", parts[1]);
  const covey::Record record = covey::ReadRecord(shelf.root(), "a");
  covey::StateOf(record.container, covey::NameOf(record.status), record.pid);
}

void ContainerId(const std::string& input) {
  covey::CheckId(input);
  Must(input.find('/') == std::string::npos && input != "..", "an id is the name of a folder");
}

}  // namespace

const std::vector<Target> kRuntimeTargets = {
    {"command-line", CommandLine}, {"record", RecordFiles}, {"container-id", ContainerId}};

}  // namespace covey_fuzz
