#include <napi.h>

#include <memory>

#include "async.h"
#include "folder.h"
#include "js_error.h"
#include "layer.h"
#include "project_quota.h"
#include "sys_error.h"

namespace covey {
namespace {

/** A byte string: one character a byte. Names in images need not be UTF-8. */
std::string Bytes(const Napi::Value& value) {
  const napi_env env = value.Env();
  size_t size = 0;
  if (napi_get_value_string_latin1(env, value, nullptr, 0, &size) != napi_ok) {
    throw InvalidInput("layer", "a path, link or attribute is not text");
  }
  std::string bytes(size, '\0');
  // With room for the closing zero, which std::string has.
  napi_get_value_string_latin1(env, value, bytes.data(), size + 1, &size);
  return bytes;
}

uint32_t Number(const Napi::Object& from, const char* key) {
  return from.Get(key).As<Napi::Number>().Uint32Value();
}

LayerOp OpOf(const Napi::Object& from) {
  LayerOp op;
  op.kind = static_cast<LayerOpKind>(Number(from, "kind"));
  op.path = Bytes(from.Get("path"));
  op.link = Bytes(from.Get("link"));
  op.mode = Number(from, "mode");
  op.uid = Number(from, "uid");
  op.gid = Number(from, "gid");
  op.mtime_seconds = from.Get("seconds").As<Napi::Number>().Int64Value();
  op.mtime_nanos = Number(from, "nanos");
  op.last = from.Get("last").As<Napi::Boolean>().Value();
  op.offset = static_cast<uint64_t>(from.Get("offset").As<Napi::Number>().Int64Value());
  op.size = static_cast<uint64_t>(from.Get("size").As<Napi::Number>().Int64Value());
  op.major = Number(from, "major");
  op.minor = Number(from, "minor");
  const Napi::Value body = from.Get("body");
  if (body.IsTypedArray()) {
    const auto view = body.As<Napi::Uint8Array>();
    op.body = view.Data();
    op.body_size = view.ByteLength();
  }
  const auto xattrs = from.Get("xattrs").As<Napi::Array>();
  for (uint32_t at = 0; at < xattrs.Length(); at++) {
    const auto pair = xattrs.Get(at).As<Napi::Array>();
    op.xattrs.emplace_back(Bytes(pair.Get(0u)), Bytes(pair.Get(1u)));
  }
  return op;
}

/** The ops point into the bodies' memory, so the list is kept until a thread is done with them. */
struct Batch {
  std::vector<LayerOp> ops;
  Napi::ObjectReference list;
};

Napi::Value Prepare(const Napi::CallbackInfo& info) {
  const auto list = info[0].As<Napi::Array>();
  auto batch = std::make_unique<Batch>();
  batch->ops.reserve(list.Length());
  for (uint32_t at = 0; at < list.Length(); at++) {
    Napi::HandleScope scope(info.Env());
    batch->ops.push_back(OpOf(list.Get(at).As<Napi::Object>()));
  }
  batch->list = Napi::Persistent(list.As<Napi::Object>());
  auto* shared = new std::shared_ptr<Batch>(std::move(batch));
  return Napi::External<std::shared_ptr<Batch>>::New(
      info.Env(), shared, [](Napi::Env, std::shared_ptr<Batch>* gone) { delete gone; });
}

Napi::Value Apply(const Napi::CallbackInfo& info) {
  const int root = info[0].As<Napi::Number>().Int32Value();
  if (!info[1].IsExternal()) throw InvalidInput("layer", "the steps are no batch of layerBatch");
  const auto batch = *info[1].As<Napi::External<std::shared_ptr<Batch>>>().Data();
  return Async(
      info.Env(), [root, batch] { ApplyLayer(root, batch->ops); },
      // Let go now: until the handle itself is collected, megabytes would wait with it.
      [batch](Napi::Env env) {
        batch->ops.clear();
        batch->list.Reset();
        return env.Undefined();
      });
}

Napi::Value Remove(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = info[0].As<Napi::String>().Utf8Value()] { RemoveTree(path); });
}

Napi::Value SyncFs(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [fd = info[0].As<Napi::Number>().Int32Value()] { SyncFileSystem(fd); });
}

NewFile FileOf(const Napi::Object& from) {
  NewFile file;
  file.path = from.Get("path").As<Napi::String>().Utf8Value();
  file.content = from.Get("content").As<Napi::String>().Utf8Value();
  file.mode = Number(from, "mode");
  return file;
}

Napi::Value Make(const Napi::CallbackInfo& info) {
  std::vector<NewFile> files;
  const auto list = info[1].As<Napi::Array>();
  for (uint32_t at = 0; at < list.Length(); at++) files.push_back(FileOf(list.Get(at).As<Napi::Object>()));
  return Async(info.Env(),
               [path = info[0].As<Napi::String>().Utf8Value(), files] { MakeFolder(path, files); });
}

Napi::Value MakeLimited(const Napi::CallbackInfo& info) {
  const auto list = info[1].As<Napi::Array>();
  std::vector<std::string> names;
  for (uint32_t at = 0; at < list.Length(); at++)
    names.push_back(list.Get(at).As<Napi::String>().Utf8Value());
  const auto bytes = static_cast<uint64_t>(info[2].As<Napi::Number>().Int64Value());
  return Async(info.Env(), [path = info[0].As<Napi::String>().Utf8Value(), names, bytes] {
    MakeLimitedFolders(path, names, bytes);
  });
}

Napi::Value MakeSpread(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [path = info[0].As<Napi::String>().Utf8Value()] { MakeSpreadFolder(path); });
}

}  // namespace

void RegisterLayer(Napi::Object exports) {
  Export<Make>(exports, "makeFolder");
  Export<MakeLimited>(exports, "makeLimitedFolders");
  Export<MakeSpread>(exports, "makeSpreadFolder");
  Export<Prepare>(exports, "layerBatch");
  Export<Apply>(exports, "layerApply");
  Export<Remove>(exports, "removeTree");
  Export<SyncFs>(exports, "syncFileSystem");
}

}  // namespace covey
