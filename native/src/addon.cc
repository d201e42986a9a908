// The addon's table of contents: which subjects JavaScript can reach. Conversion lives in bind_<subject>.cc,
// the work itself in files that know nothing of napi.
#include <napi.h>

namespace covey {

// One line per subject here and one in kSubjects, in the order of the files; the function is defined in
// bind_<subject>.cc. FUNCTIONS in native/index.ts is the same list.
void RegisterBytes(Napi::Object exports);
void RegisterCgroup(Napi::Object exports);
void RegisterContainer(Napi::Object exports);
void RegisterExec(Napi::Object exports);
void RegisterLayer(Napi::Object exports);
void RegisterNetwork(Napi::Object exports);
void RegisterProcess(Napi::Object exports);
void RegisterTree(Napi::Object exports);

namespace {

using Register = void (*)(Napi::Object);
constexpr Register kSubjects[] = {
    RegisterBytes, RegisterCgroup,  RegisterContainer, RegisterExec,
    RegisterLayer, RegisterNetwork, RegisterProcess,   RegisterTree,
};

Napi::Object Init(Napi::Object exports) {
  for (Register subject : kSubjects) subject(exports);
  return exports;
}

}  // namespace
}  // namespace covey

static Napi::Object InitAddon(Napi::Env, Napi::Object exports) { return covey::Init(exports); }

NODE_API_MODULE(covey, InitAddon)
