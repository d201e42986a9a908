// The addon's table of contents: which subjects JavaScript can reach. Conversion lives in bind_<subject>.cc,
// the work itself in files that know nothing of napi.
#include <napi.h>

namespace covey {

// One line per subject here and one in kSubjects; the function is defined in bind_<subject>.cc.
void RegisterContainer(Napi::Env env, Napi::Object exports);
void RegisterCgroup(Napi::Env env, Napi::Object exports);
void RegisterExec(Napi::Env env, Napi::Object exports);
void RegisterNetwork(Napi::Env env, Napi::Object exports);
void RegisterLayer(Napi::Env env, Napi::Object exports);
void RegisterProcess(Napi::Env env, Napi::Object exports);

namespace {

using Register = void (*)(Napi::Env, Napi::Object);
constexpr Register kSubjects[] = {
    RegisterContainer, RegisterExec, RegisterCgroup, RegisterNetwork, RegisterLayer, RegisterProcess,
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  for (Register subject : kSubjects) subject(env, exports);
  return exports;
}

}  // namespace
}  // namespace covey

static Napi::Object InitAddon(Napi::Env env, Napi::Object exports) { return covey::Init(env, exports); }

NODE_API_MODULE(covey, InitAddon)
