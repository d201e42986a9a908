#include <napi.h>
#include <nettle/sha2.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "js_error.h"
#include "sys_error.h"
#include "unzstd.h"

namespace covey {
namespace {

template <typename T>
Napi::Value Handle(Napi::Env env, std::shared_ptr<T> state) {
  auto* shared = new std::shared_ptr<T>(std::move(state));
  return Napi::External<std::shared_ptr<T>>::New(env, shared,
                                                 [](Napi::Env, std::shared_ptr<T>* gone) { delete gone; });
}

template <typename T>
std::shared_ptr<T> StateOf(const Napi::Value& handle) {
  if (!handle.IsExternal()) throw InvalidInput("bytes", "the first argument is no handle");
  return *handle.As<Napi::External<std::shared_ptr<T>>>().Data();
}

/** Memory of JavaScript that a thread looks at: held until it is let go. */
struct Span {
  uint8_t* data = nullptr;
  size_t size = 0;
};

Span SpanOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw InvalidInput("bytes", "what is to be read or filled is no Uint8Array");
  auto view = value.As<Napi::Uint8Array>();
  return {view.Data(), view.ByteLength()};
}

struct Hash {
  sha256_ctx context;
};

Napi::Value OpenHash(const Napi::CallbackInfo& info) {
  auto hash = std::make_shared<Hash>();
  sha256_init(&hash->context);
  return Handle(info.Env(), std::move(hash));
}

Napi::Value UpdateHash(const Napi::CallbackInfo& info) {
  const auto hash = StateOf<Hash>(info[0]);
  const auto list = info[1].As<Napi::Array>();
  std::vector<Span> spans;
  for (uint32_t at = 0; at < list.Length(); at++) spans.push_back(SpanOf(list.Get(at)));
  auto held = std::make_shared<Napi::ObjectReference>(Napi::Persistent(list.As<Napi::Object>()));
  return Async(
      info.Env(),
      [hash, spans] {
        for (const Span& span : spans) sha256_update(&hash->context, span.size, span.data);
      },
      [held](Napi::Env env) {
        held->Reset();
        return env.Undefined();
      });
}

Napi::Value DigestHash(const Napi::CallbackInfo& info) {
  const auto hash = StateOf<Hash>(info[0]);
  std::array<uint8_t, SHA256_DIGEST_SIZE> digest{};
  sha256_digest(&hash->context, digest.size(), digest.data());
  std::string hex;
  for (const uint8_t byte : digest) {
    hex += "0123456789abcdef"[byte >> 4U];
    hex += "0123456789abcdef"[byte & 15U];
  }
  return Napi::String::New(info.Env(), hex);
}

Napi::Value OpenUnzstd(const Napi::CallbackInfo& info) {
  return Handle(info.Env(), std::make_shared<Unzstd>(info[0].As<Napi::Number>().Int32Value()));
}

Napi::Value StepUnzstd(const Napi::CallbackInfo& info) {
  const auto unzstd = StateOf<Unzstd>(info[0]);
  const Span in = SpanOf(info[1]);
  const Span out = SpanOf(info[2]);
  const auto held = Napi::Array::New(info.Env(), 2);
  held.Set(0u, info[1]);
  held.Set(1u, info[2]);
  auto reference = std::make_shared<Napi::ObjectReference>(Napi::Persistent(held.As<Napi::Object>()));
  return Async(
      info.Env(), [unzstd, in, out] { return unzstd->Step(in.data, in.size, out.data, out.size); },
      [reference](Napi::Env env, const UnzstdStep& step) -> Napi::Value {
        reference->Reset();
        auto result = Napi::Object::New(env);
        result.Set("read", static_cast<double>(step.read));
        result.Set("written", static_cast<double>(step.written));
        result.Set("isBetween", step.between);
        result.Set("fault", step.fault.empty() ? env.Null() : Napi::String::New(env, step.fault));
        result.Set("wantsMemory", step.wants_memory);
        return result;
      });
}

}  // namespace

void RegisterBytes(Napi::Object exports) {
  Export<OpenHash>(exports, "sha256Open");
  Export<UpdateHash>(exports, "sha256Update");
  Export<DigestHash>(exports, "sha256Digest");
  Export<OpenUnzstd>(exports, "unzstdOpen");
  Export<StepUnzstd>(exports, "unzstdStep");
}

}  // namespace covey
