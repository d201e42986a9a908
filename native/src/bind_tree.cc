#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async.h"
#include "tree_walk.h"

namespace covey {
namespace {

/** Smaller bodies are cheaper copied than kept as memory of their own. */
constexpr size_t kCopiedMax = size_t{256} << 10;

/** A byte string: one character a byte. Names in trees need not be UTF-8. */
std::string Bytes(const Napi::Value& value) {
  const std::u16string wide = value.As<Napi::String>().Utf16Value();
  return {wide.begin(), wide.end()};
}

Napi::Value Latin1(Napi::Env env, const std::string& bytes) {
  napi_value text = nullptr;
  if (napi_create_string_latin1(env, bytes.data(), bytes.size(), &text) != napi_ok)
    throw Napi::Error::New(env);
  return {env, text};
}

std::vector<TreeLayer> LayersOf(const Napi::Value& value) {
  std::vector<TreeLayer> layers;
  const auto list = value.As<Napi::Array>();
  for (uint32_t at = 0; at < list.Length(); at++) {
    const auto from = list.Get(at).As<Napi::Object>();
    layers.push_back({from.Get("path").As<Napi::String>().Utf8Value(),
                      from.Get("idBase").As<Napi::Number>().Uint32Value()});
  }
  return layers;
}

Napi::Object EntryToJs(Napi::Env env, const TreeEntry& entry) {
  Napi::Object out = Napi::Object::New(env);
  const auto number = [&](const char* key, double value) { out.Set(key, Napi::Number::New(env, value)); };
  number("kind", static_cast<uint32_t>(entry.kind));
  out.Set("path", Latin1(env, entry.path));
  out.Set("link", Latin1(env, entry.link));
  number("mode", entry.mode);
  number("uid", entry.uid);
  number("gid", entry.gid);
  number("size", static_cast<double>(entry.size));
  number("seconds", static_cast<double>(entry.seconds));
  number("nanos", entry.nanos);
  number("major", entry.major);
  number("minor", entry.minor);
  out.Set("last", Napi::Boolean::New(env, entry.last));
  number("at", static_cast<double>(entry.at));
  number("length", static_cast<double>(entry.length));
  Napi::Array xattrs = Napi::Array::New(env, entry.xattrs.size());
  for (uint32_t at = 0; at < entry.xattrs.size(); at++) {
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0u, Latin1(env, entry.xattrs[at].first));
    pair.Set(1u, Latin1(env, entry.xattrs[at].second));
    xattrs.Set(at, pair);
  }
  out.Set("xattrs", xattrs);
  return out;
}

Napi::Value BatchToJs(Napi::Env env, TreeBatch batch) {
  if (batch.entries.empty()) return env.Null();
  Napi::Object out = Napi::Object::New(env);
  Napi::Array entries = Napi::Array::New(env, batch.entries.size());
  for (uint32_t at = 0; at < batch.entries.size(); at++) {
    Napi::HandleScope scope(env);
    entries.Set(at, EntryToJs(env, batch.entries[at]));
  }
  out.Set("entries", entries);
  if (batch.size <= kCopiedMax) {
    out.Set("bytes", Napi::Buffer<uint8_t>::Copy(env, batch.bytes.get(), batch.size));
  } else {
    const auto free = [](Napi::Env, uint8_t* bytes) { delete[] bytes; };
    out.Set("bytes", Napi::Buffer<uint8_t>::New(env, batch.bytes.release(), batch.size, free));
  }
  return out;
}

/** The walk, open until `close` or until nobody holds it. */
using OpenWalk = std::shared_ptr<std::shared_ptr<TreeWalk>>;

Napi::Value WalkToJs(Napi::Env env, std::shared_ptr<TreeWalk> made) {
  Napi::Object out = Napi::Object::New(env);
  const OpenWalk open = std::make_shared<std::shared_ptr<TreeWalk>>(std::move(made));
  out.Set("next", Napi::Function::New(env, [open](const Napi::CallbackInfo& info) -> Napi::Value {
            auto work = [walk = *open] { return walk ? walk->Next() : TreeBatch{}; };
            return Async(info.Env(), std::move(work),
                         [](Napi::Env e, TreeBatch batch) { return BatchToJs(e, std::move(batch)); });
          }));
  out.Set("close", Napi::Function::New(env, [open](const Napi::CallbackInfo&) { open->reset(); }));
  return out;
}

Napi::Value Walk(const Napi::CallbackInfo& info) {
  auto work = [layers = LayersOf(info[0]), path = Bytes(info[1]), raw = info[2].As<Napi::Boolean>().Value()] {
    return std::make_shared<TreeWalk>(layers, path, raw);
  };
  return Async(info.Env(), std::move(work),
               [](Napi::Env env, std::shared_ptr<TreeWalk> walk) { return WalkToJs(env, std::move(walk)); });
}

struct Looked {
  std::string path;
  bool exists = false;
  TreeEntry entry;
};

Looked LookUp(const MergedTree& tree, const std::string& path, bool follow) {
  const MergedPlace place = tree.Resolve(path, follow);
  if (!place.entry) return {.path = place.path};
  return {.path = place.path, .exists = true, .entry = DescribeEntry(tree, *place.entry)};
}

Napi::Value Look(const Napi::CallbackInfo& info) {
  auto work = [layers = LayersOf(info[0]), path = Bytes(info[1]),
               follow = info[2].As<Napi::Boolean>().Value()] {
    return LookUp(MergedTree{layers}, path, follow);
  };
  return Async(info.Env(), std::move(work), [](Napi::Env env, const Looked& looked) {
    Napi::Object out = Napi::Object::New(env);
    out.Set("path", Latin1(env, looked.path));
    out.Set("entry", looked.exists ? EntryToJs(env, looked.entry).As<Napi::Value>() : env.Null());
    return out;
  });
}

std::vector<std::string> NamesAt(const MergedTree& tree, const std::string& path) {
  const MergedPlace place = tree.Resolve(path, true);
  if (!place.entry || place.entry->folder.parts.empty()) return {};
  std::vector<std::string> names;
  for (std::string& name : tree.Names(place.entry->folder)) {
    if (tree.Find(place.entry->folder, name)) names.push_back(std::move(name));
  }
  return names;
}

Napi::Value List(const Napi::CallbackInfo& info) {
  auto work = [layers = LayersOf(info[0]), path = Bytes(info[1])] {
    return NamesAt(MergedTree{layers}, path);
  };
  return Async(info.Env(), std::move(work), [](Napi::Env env, const std::vector<std::string>& names) {
    Napi::Array out = Napi::Array::New(env, names.size());
    for (uint32_t at = 0; at < names.size(); at++) out.Set(at, Latin1(env, names[at]));
    return out;
  });
}

}  // namespace

void RegisterTree(Napi::Object exports) {
  Export<Walk>(exports, "treeWalk");
  Export<Look>(exports, "treeLookUp");
  Export<List>(exports, "treeNames");
}

}  // namespace covey
