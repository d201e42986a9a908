#include "route.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <cerrno>

#include "netlink.h"
#include "sys_error.h"

namespace covey {
namespace {

/** A dump that changed meanwhile is read again; on a host that never rests the last one must do. */
constexpr int kDumpTries = 5;

std::string PrefixText(const NetlinkValue& address, uint8_t length) {
  return AddressText(address ? address.U32() : 0) + "/" + std::to_string(length);
}

NetlinkMessage RouteMessage(uint16_t type, uint16_t flags, uint8_t protocol, const Route& route) {
  const Prefix destination = ParsePrefix("route.destination", route.destination);
  rtmsg fixed{};
  fixed.rtm_family = AF_INET;
  fixed.rtm_dst_len = destination.length;
  fixed.rtm_table = RT_TABLE_UNSPEC;
  fixed.rtm_protocol = protocol;
  const bool leads_nowhere = route.gateway.empty() && route.device.empty();
  fixed.rtm_scope = route.gateway.empty() && !leads_nowhere ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  fixed.rtm_type = leads_nowhere ? RTN_UNREACHABLE : RTN_UNICAST;
  NetlinkMessage message{type, flags, route.destination};
  message.Fixed(fixed).PutU32(RTA_TABLE, route.table);
  if (destination.length > 0) message.PutU32(RTA_DST, destination.address);
  if (!route.gateway.empty()) {
    message.PutU32(RTA_GATEWAY, ParsePrefix("route.gateway", route.gateway).address);
  }
  if (!route.source.empty()) {
    message.PutU32(RTA_PREFSRC, ParsePrefix("route.source", route.source).address);
  }
  // A device that is gone took its routes along; 0 then makes the kernel say so.
  if (!route.device.empty()) message.PutU32(RTA_OIF, if_nametoindex(route.device.c_str()));
  return message;
}

NetlinkMessage RuleMessage(uint16_t type, uint16_t flags, uint8_t protocol, const Rule& rule) {
  const Prefix source = ParsePrefix("rule.source", rule.source);
  fib_rule_hdr fixed{};
  fixed.family = AF_INET;
  fixed.src_len = source.length;
  fixed.table = RT_TABLE_UNSPEC;
  fixed.action = FR_ACT_TO_TBL;
  NetlinkMessage message{type, flags, "from " + rule.source};
  message.Fixed(fixed)
      .PutU32(FRA_PRIORITY, rule.priority)
      .PutU32(FRA_SRC, source.address)
      .PutU32(FRA_FWMARK, rule.mark)
      .PutU32(FRA_FWMASK, 0xffffffff)
      .PutU32(FRA_TABLE, rule.table)
      .PutU8(FRA_PROTOCOL, protocol);
  return message;
}

bool IsAbsent(int error) { return error == ESRCH || error == ENOENT || error == ENODEV; }

}  // namespace

std::vector<Route> Routes(uint8_t protocol) {
  NetlinkSocket socket{NETLINK_ROUTE};
  std::vector<Route> routes;
  for (int tries = 0; tries < kDumpTries; tries++) {
    routes.clear();
    NetlinkMessage message{RTM_GETROUTE, 0, "routes"};
    rtmsg family{};
    family.rtm_family = AF_INET;
    message.Fixed(family);
    const bool whole = socket.Dump(std::move(message), [&](const nlmsghdr* header) {
      const auto* fixed = static_cast<const rtmsg*>(NLMSG_DATA(header));
      if (fixed->rtm_protocol != protocol || (fixed->rtm_flags & RTM_F_CLONED) != 0) return;
      const auto values = ReadAttributes(RTM_RTA(fixed), RTM_PAYLOAD(header), RTA_TABLE);
      char name[IF_NAMESIZE] = "";
      if (values[RTA_OIF]) if_indextoname(values[RTA_OIF].U32(), name);
      routes.push_back({.destination = PrefixText(values[RTA_DST], fixed->rtm_dst_len),
                        .gateway = values[RTA_GATEWAY] ? AddressText(values[RTA_GATEWAY].U32()) : "",
                        .device = name,
                        .table = values[RTA_TABLE] ? values[RTA_TABLE].U32() : fixed->rtm_table,
                        .source = values[RTA_PREFSRC] ? AddressText(values[RTA_PREFSRC].U32()) : ""});
    });
    if (whole) break;
  }
  return routes;
}

std::vector<Refusal> ChangeRoutes(uint8_t protocol, const std::vector<Route>& set,
                                  const std::vector<Route>& remove) {
  std::vector<NetlinkMessage> batch;
  batch.reserve(set.size() + remove.size());
  // First the new ones: one that replaces another leaves no moment without a route.
  for (const Route& route : set) {
    batch.push_back(RouteMessage(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, protocol, route));
  }
  for (const Route& route : remove) batch.push_back(RouteMessage(RTM_DELROUTE, 0, protocol, route));
  NetlinkSocket socket{NETLINK_ROUTE};
  const auto acks = socket.Batch(batch);
  std::vector<Refusal> refusals;
  for (size_t i = 0; i < acks.size(); i++) {
    if (acks[i].error == 0) continue;
    if (i < set.size()) {
      refusals.push_back({i, acks[i].error, acks[i].text});
    } else if (!IsAbsent(acks[i].error)) {
      throw SysError{acks[i].error, "RTM_DELROUTE", batch[i].path(), "", acks[i].text};
    }
  }
  return refusals;
}

std::vector<Rule> Rules(uint8_t protocol) {
  NetlinkSocket socket{NETLINK_ROUTE};
  std::vector<Rule> rules;
  for (int tries = 0; tries < kDumpTries; tries++) {
    rules.clear();
    NetlinkMessage message{RTM_GETRULE, 0, "rules"};
    fib_rule_hdr family{};
    family.family = AF_INET;
    message.Fixed(family);
    const bool whole = socket.Dump(std::move(message), [&](const nlmsghdr* header) {
      const auto* fixed = static_cast<const fib_rule_hdr*>(NLMSG_DATA(header));
      const auto* start = reinterpret_cast<const uint8_t*>(fixed) + NLMSG_ALIGN(sizeof *fixed);
      const auto values = ReadAttributes(start, NLMSG_PAYLOAD(header, sizeof *fixed), FRA_PROTOCOL);
      if (values[FRA_PROTOCOL].U8() != protocol) return;
      rules.push_back({.priority = values[FRA_PRIORITY].U32(),
                       .source = PrefixText(values[FRA_SRC], fixed->src_len),
                       .mark = values[FRA_FWMARK].U32(),
                       .table = values[FRA_TABLE] ? values[FRA_TABLE].U32() : fixed->table});
    });
    if (whole) break;
  }
  return rules;
}

void ChangeRules(uint8_t protocol, const std::vector<Rule>& add, const std::vector<Rule>& remove) {
  std::vector<NetlinkMessage> batch;
  batch.reserve(add.size() + remove.size());
  // First the new ones, so that a mark never goes without its table.
  for (const Rule& rule : add) {
    batch.push_back(RuleMessage(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, protocol, rule));
  }
  for (const Rule& rule : remove) batch.push_back(RuleMessage(RTM_DELRULE, 0, protocol, rule));
  NetlinkSocket socket{NETLINK_ROUTE};
  const auto acks = socket.Batch(batch);
  for (size_t i = 0; i < acks.size(); i++) {
    const bool is_add = i < add.size();
    if (acks[i].error == 0 || (is_add ? acks[i].error == EEXIST : IsAbsent(acks[i].error))) continue;
    throw SysError{acks[i].error, is_add ? "RTM_NEWRULE" : "RTM_DELRULE", batch[i].path(), "", acks[i].text};
  }
}

}  // namespace covey
