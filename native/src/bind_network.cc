#include <napi.h>

#include <cstring>
#include <string>
#include <vector>

#include "async.h"
#include "conntrack.h"
#include "link.h"
#include "nft.h"
#include "route.h"

namespace covey {
namespace {

std::string Text(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
}

uint32_t Number(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : 0;
}

uint64_t Wide(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  return value.IsNumber() ? static_cast<uint64_t>(value.As<Napi::Number>().Int64Value()) : 0;
}

Napi::Value TextOrNull(Napi::Env env, const std::string& text) {
  return text.empty() ? env.Null() : Napi::String::New(env, text).As<Napi::Value>();
}

template <typename Item, typename Read>
std::vector<Item> List(const Napi::Value& value, Read read) {
  std::vector<Item> items;
  const auto array = value.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) items.push_back(read(array.Get(i).As<Napi::Object>()));
  return items;
}

template <typename Item, typename Write>
Napi::Value Array(Napi::Env env, const std::vector<Item>& items, Write write) {
  Napi::Array array = Napi::Array::New(env, items.size());
  for (uint32_t i = 0; i < items.size(); i++) array.Set(i, write(items[i]));
  return array;
}

Route ReadRoute(const Napi::Object& from) {
  return {.destination = Text(from, "destination"),
          .gateway = Text(from, "gateway"),
          .device = Text(from, "device"),
          .table = Number(from, "table"),
          .source = Text(from, "source")};
}

Rule ReadRule(const Napi::Object& from) {
  return {.priority = Number(from, "priority"),
          .source = Text(from, "source"),
          .mark = Number(from, "mark"),
          .table = Number(from, "table")};
}

uint8_t Protocol(const Napi::CallbackInfo& info) {
  return static_cast<uint8_t>(info[0].As<Napi::Number>().Uint32Value());
}

Napi::Value AttachVethTo(const Napi::CallbackInfo& info) {
  const auto from = info[0].As<Napi::Object>();
  VethPlan plan{.name = Text(from, "name"),
                .pid = static_cast<pid_t>(Number(from, "pid")),
                .address = Text(from, "address"),
                .gateway = Text(from, "gateway"),
                .mtu = Number(from, "mtu"),
                .host_mac = Text(from, "hostMac"),
                .container_mac = Text(from, "containerMac"),
                .host_address = Text(from, "hostAddress"),
                .protocol = static_cast<uint8_t>(Number(from, "protocol")),
                .egress_bits = Wide(from, "egressBits"),
                .ingress_bits = Wide(from, "ingressBits")};
  return Async(info.Env(), [plan = std::move(plan)] { AttachVeth(plan); });
}

Napi::Value DeleteLinkNamed(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [name = info[0].As<Napi::String>().Utf8Value()] { return DeleteLink(name); },
      [](Napi::Env env, bool was_there) { return Napi::Boolean::New(env, was_there); });
}

Napi::Value ListLinks(const Napi::CallbackInfo& info) {
  return Async(info.Env(), Links, [](Napi::Env env, const std::vector<Link>& links) {
    return Array(env, links, [&](const Link& link) {
      Napi::Object to = Napi::Object::New(env);
      to.Set("index", link.index);
      to.Set("name", link.name);
      to.Set("mac", TextOrNull(env, link.mac));
      to.Set("mtu", link.mtu);
      to.Set("up", link.up);
      to.Set("addresses", Array(env, link.addresses,
                                [&](const std::string& address) { return Napi::String::New(env, address); }));
      return to;
    });
  });
}

Napi::Value ListRoutes(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [protocol = Protocol(info)] { return Routes(protocol); },
      [](Napi::Env env, const std::vector<Route>& routes) {
        return Array(env, routes, [&](const Route& route) {
          Napi::Object to = Napi::Object::New(env);
          to.Set("destination", route.destination);
          to.Set("gateway", TextOrNull(env, route.gateway));
          to.Set("device", TextOrNull(env, route.device));
          to.Set("table", route.table);
          to.Set("source", TextOrNull(env, route.source));
          return to;
        });
      });
}

Napi::Value ListRules(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [protocol = Protocol(info)] { return Rules(protocol); },
      [](Napi::Env env, const std::vector<Rule>& rules) {
        return Array(env, rules, [&](const Rule& rule) {
          Napi::Object to = Napi::Object::New(env);
          to.Set("priority", rule.priority);
          to.Set("source", rule.source);
          to.Set("mark", rule.mark);
          to.Set("table", rule.table);
          return to;
        });
      });
}

Napi::Value SetRoutes(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(),
      [protocol = Protocol(info), set = List<Route>(info[1], ReadRoute),
       remove = List<Route>(info[2], ReadRoute)] { return ChangeRoutes(protocol, set, remove); },
      [](Napi::Env env, const std::vector<Refusal>& refusals) {
        return Array(env, refusals, [&](const Refusal& refusal) {
          Napi::Object to = Napi::Object::New(env);
          const char* code = strerrorname_np(refusal.error);
          to.Set("index", static_cast<uint32_t>(refusal.index));
          to.Set("code", code == nullptr ? "EUNKNOWN" : code);
          to.Set("text", refusal.text);
          return to;
        });
      });
}

Napi::Value SetRules(const Napi::CallbackInfo& info) {
  return Async(info.Env(), [protocol = Protocol(info), add = List<Rule>(info[1], ReadRule),
                            remove = List<Rule>(info[2], ReadRule)] { ChangeRules(protocol, add, remove); });
}

Napi::Value RunScript(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(),
      [script = info[0].As<Napi::String>().Utf8Value(), json = info[1].As<Napi::Boolean>().Value()] {
        return RunNft(script, json);
      },
      [](Napi::Env env, const std::string& output) { return Napi::String::New(env, output); });
}

Napi::Value Generation(const Napi::CallbackInfo& info) {
  return Async(info.Env(), NftGeneration,
               [](Napi::Env env, uint32_t number) { return Napi::Number::New(env, number); });
}

Napi::Value CountOpen(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(),
      [address = info[0].As<Napi::String>().Utf8Value(), recent = info[1].As<Napi::Number>().Uint32Value()] {
        return CountConnections(address, recent);
      },
      [](Napi::Env env, uint32_t count) { return Napi::Number::New(env, count); });
}

Napi::Value Forget(const Napi::CallbackInfo& info) {
  const auto from = info[0].As<Napi::Object>();
  ConnectionFilter filter{.address = Text(from, "address"),
                          .protocol = static_cast<uint8_t>(Number(from, "protocol")),
                          .published = static_cast<uint16_t>(Number(from, "published"))};
  return Async(
      info.Env(), [filter = std::move(filter)] { return ForgetConnections(filter); },
      [](Napi::Env env, uint32_t count) { return Napi::Number::New(env, count); });
}

std::vector<std::string> Texts(const Napi::Value& value) {
  const auto list = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (uint32_t at = 0; at < list.Length(); at++)
    texts.push_back(list.Get(at).As<Napi::String>().Utf8Value());
  return texts;
}

Napi::Value ForgetTheseAddresses(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), [addresses = Texts(info[0])] { return ForgetAddresses(addresses); },
      [](Napi::Env env, uint32_t count) { return Napi::Number::New(env, count); });
}

Napi::Value ForgetTheBlock(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(),
      [block = info[0].As<Napi::String>().Utf8Value(), kept = Texts(info[1])] {
        return ForgetBlock(block, kept);
      },
      [](Napi::Env env, uint32_t count) { return Napi::Number::New(env, count); });
}

}  // namespace

void RegisterNetwork(Napi::Object exports) {
  Export<AttachVethTo>(exports, "attachVeth");
  Export<DeleteLinkNamed>(exports, "deleteLink");
  Export<ListLinks>(exports, "links");
  Export<ListRoutes>(exports, "routes");
  Export<SetRoutes>(exports, "changeRoutes");
  Export<ListRules>(exports, "rules");
  Export<SetRules>(exports, "changeRules");
  Export<RunScript>(exports, "runNft");
  Export<Generation>(exports, "nftGeneration");
  Export<CountOpen>(exports, "countConnections");
  Export<Forget>(exports, "forgetConnections");
  Export<ForgetTheseAddresses>(exports, "forgetAddresses");
  Export<ForgetTheBlock>(exports, "forgetBlock");
}

}  // namespace covey
