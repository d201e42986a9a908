#include "link.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <map>
#include <optional>

#include "fd.h"
#include "netlink.h"
#include "process.h"
#include "sys_error.h"
#include "tc.h"

namespace covey {
namespace {

constexpr int kLoopback = 1;
constexpr char kInnerName[] = "eth0";

using Mac = std::array<uint8_t, 6>;

Mac ParseMac(const std::string& field, const std::string& text) {
  Mac mac{};
  char rest = 0;
  if (sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2], &mac[3],
             &mac[4], &mac[5], &rest) != 6) {
    throw InvalidInput{field, "\"" + text + "\" is not a MAC address"};
  }
  return mac;
}

std::string MacText(const uint8_t* mac) {
  char text[18];
  snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
           mac[5]);
  return text;
}

/** Up, and without the link-local IPv6 address whose detection would send packets. */
NetlinkMessage SetUp(int index, const std::string& path, bool has_ipv6) {
  ifinfomsg info{};
  info.ifi_index = index;
  info.ifi_flags = IFF_UP;
  info.ifi_change = IFF_UP;
  NetlinkMessage message{RTM_NEWLINK, 0, path};
  message.Fixed(info);
  if (has_ipv6 && index != kLoopback) {
    const size_t families = message.Nest(IFLA_AF_SPEC);
    const size_t ipv6 = message.Nest(AF_INET6);
    message.PutU8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    message.End(ipv6);
    message.End(families);
  }
  return message;
}

NetlinkMessage Neighbour(int index, uint32_t address, const Mac& mac, const std::string& path) {
  ndmsg neighbour{};
  neighbour.ndm_family = AF_INET;
  neighbour.ndm_ifindex = index;
  neighbour.ndm_state = NUD_PERMANENT;
  NetlinkMessage message{RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, path};
  message.Fixed(neighbour).PutU32(NDA_DST, address).Put(NDA_LLADDR, mac.data(), mac.size());
  return message;
}

NetlinkMessage LinkRoute(int index, uint32_t destination, uint8_t protocol, std::optional<uint32_t> source,
                         const std::string& path) {
  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_dst_len = 32;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = protocol;
  route.rtm_scope = RT_SCOPE_LINK;
  route.rtm_type = RTN_UNICAST;
  NetlinkMessage message{RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, path};
  message.Fixed(route).PutU32(RTA_DST, destination).PutU32(RTA_OIF, static_cast<uint32_t>(index));
  if (source) message.PutU32(RTA_PREFSRC, *source);
  return message;
}

/**
 * The one queue each way that a veth uses, said beforehand: left to itself the kernel makes one for each processor, and
 * then waits for all readers (synchronize_net) with everybody's network locked, to use only the first.
 */
void PutOneQueue(NetlinkMessage& message) {
  message.PutU32(IFLA_NUM_TX_QUEUES, 1).PutU32(IFLA_NUM_RX_QUEUES, 1);
}

NetlinkMessage CreatePair(const VethPlan& plan, const Fd& target) {
  const Mac host = ParseMac("hostMac", plan.host_mac);
  const Mac container = ParseMac("containerMac", plan.container_mac);
  NetlinkMessage message{RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, plan.name};
  message.Fixed(ifinfomsg{})
      .PutText(IFLA_IFNAME, plan.name)
      .PutU32(IFLA_MTU, plan.mtu)
      .Put(IFLA_ADDRESS, host.data(), host.size());
  PutOneQueue(message);
  const size_t kind = message.Nest(IFLA_LINKINFO);
  message.PutText(IFLA_INFO_KIND, "veth");
  const size_t data = message.Nest(IFLA_INFO_DATA);
  const size_t peer = message.Nest(VETH_INFO_PEER);
  message.Fixed(ifinfomsg{})
      .PutText(IFLA_IFNAME, kInnerName)
      .PutU32(IFLA_MTU, plan.mtu)
      .PutU32(IFLA_NET_NS_FD, static_cast<uint32_t>(target.get()))
      .Put(IFLA_ADDRESS, container.data(), container.size());
  PutOneQueue(message);
  message.End(peer);
  message.End(data);
  message.End(kind);
  return message;
}

std::vector<NetlinkMessage> InnerBatch(const VethPlan& plan, int index, bool has_ipv6) {
  const uint32_t address = ParsePrefix("address", plan.address).address;
  const uint32_t gateway = ParsePrefix("gateway", plan.gateway).address;
  std::vector<NetlinkMessage> batch;
  batch.push_back(SetUp(kLoopback, "lo", has_ipv6));
  batch.push_back(SetUp(index, kInnerName, has_ipv6));

  ifaddrmsg own{};
  own.ifa_family = AF_INET;
  own.ifa_prefixlen = 32;
  own.ifa_index = static_cast<uint32_t>(index);
  NetlinkMessage add{RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, plan.address};
  add.Fixed(own).PutU32(IFA_LOCAL, address).PutU32(IFA_ADDRESS, address);
  batch.push_back(std::move(add));
  batch.push_back(LinkRoute(index, gateway, RTPROT_BOOT, std::nullopt, plan.gateway));

  rtmsg route{};
  route.rtm_family = AF_INET;
  route.rtm_table = RT_TABLE_MAIN;
  route.rtm_protocol = RTPROT_BOOT;
  route.rtm_type = RTN_UNICAST;
  route.rtm_flags = RTNH_F_ONLINK;
  NetlinkMessage standard{RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, "default via " + plan.gateway};
  standard.Fixed(route).PutU32(RTA_GATEWAY, gateway).PutU32(RTA_OIF, static_cast<uint32_t>(index));
  batch.push_back(std::move(standard));
  batch.push_back(Neighbour(index, gateway, ParseMac("hostMac", plan.host_mac), plan.gateway));
  if (plan.egress_bits != 0) batch.push_back(RateLimit(index, plan.egress_bits, plan.mtu, kInnerName));
  return batch;
}

std::vector<NetlinkMessage> OuterBatch(const VethPlan& plan, int index, bool has_ipv6) {
  const uint32_t address = ParsePrefix("address", plan.address).address;
  const uint32_t source = ParsePrefix("hostAddress", plan.host_address).address;
  std::vector<NetlinkMessage> batch;
  batch.push_back(SetUp(index, plan.name, has_ipv6));
  batch.push_back(LinkRoute(index, address, plan.protocol, source, plan.address));
  batch.push_back(Neighbour(index, address, ParseMac("containerMac", plan.container_mac), plan.address));
  // What goes to the container leaves the host's end.
  if (plan.ingress_bits != 0)
    batch.push_back(RateLimit(index, plan.ingress_bits, plan.mtu, plan.name.c_str()));
  return batch;
}

int IndexOf(NetlinkSocket& socket, const std::string& name) {
  int index = 0;
  NetlinkMessage message{RTM_GETLINK, 0, name};
  message.Fixed(ifinfomsg{}).PutText(IFLA_IFNAME, name);
  socket.Ask(std::move(message), [&](const nlmsghdr* header) {
    index = static_cast<const ifinfomsg*>(NLMSG_DATA(header))->ifi_index;
  });
  return index;
}

NetlinkMessage Deletion(const std::string& name) {
  NetlinkMessage message{RTM_DELLINK, 0, name};
  message.Fixed(ifinfomsg{}).PutText(IFLA_IFNAME, name);
  return message;
}

/** The host's end sends no redirects (a task that reaches itself would be told another way) and speaks no IPv6. */
void SetInterfaceSysctls(const std::string& name, bool has_ipv6) {
  WriteSmallFile("/proc/sys/net/ipv4/conf/" + name + "/send_redirects", "0");
  if (has_ipv6) WriteSmallFile("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6", "1");
}

}  // namespace

void AttachVeth(const VethPlan& plan) {
  const std::string path = "/proc/" + std::to_string(plan.pid) + "/ns/net";
  Fd target{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!target) throw SysError{errno, "open", path, "find the container's network namespace"};
  const bool has_ipv6 = access("/proc/sys/net/ipv6", F_OK) == 0;
  // Everything that can be wrong with the input is read before anything is made.
  InnerBatch(plan, 0, has_ipv6);
  OuterBatch(plan, 0, has_ipv6);

  NetlinkSocket host{NETLINK_ROUTE};
  std::vector<NetlinkMessage> create;
  create.push_back(CreatePair(plan, target));
  auto made = host.Batch(create);
  if (made[0].error == EEXIST && DeleteLink(plan.name)) made = host.Batch(create);
  if (made[0].error != 0)
    throw SysError{made[0].error, "RTM_NEWLINK", plan.name, "make the veth pair", made[0].text};
  try {
    NetlinkSocket inside = NetlinkSocket::InNamespaceOf(plan.pid, NETLINK_ROUTE);
    inside.Run(InnerBatch(plan, IndexOf(inside, kInnerName), has_ipv6), "furnish the container's namespace");
    SetInterfaceSysctls(plan.name, has_ipv6);
    host.Run(OuterBatch(plan, IndexOf(host, plan.name), has_ipv6), "furnish the host's end");
  } catch (...) {
    std::vector<NetlinkMessage> undo;
    undo.push_back(Deletion(plan.name));
    host.Batch(undo);
    throw;
  }
}

bool DeleteLink(const std::string& name) {
  NetlinkSocket socket{NETLINK_ROUTE};
  std::vector<NetlinkMessage> batch;
  batch.push_back(Deletion(name));
  const NetlinkAck ack = socket.Batch(batch)[0];
  if (ack.error == ENODEV) return false;
  if (ack.error != 0) throw SysError{ack.error, "RTM_DELLINK", name, "", ack.text};
  return true;
}

std::vector<Link> Links() {
  NetlinkSocket socket{NETLINK_ROUTE};
  std::map<int, Link> found;
  NetlinkMessage links{RTM_GETLINK, 0};
  links.Fixed(ifinfomsg{});
  socket.Dump(std::move(links), [&](const nlmsghdr* header) {
    const auto* info = static_cast<const ifinfomsg*>(NLMSG_DATA(header));
    const auto values = ReadAttributes(IFLA_RTA(info), IFLA_PAYLOAD(header), IFLA_MTU);
    Link& link = found[info->ifi_index];
    link.index = info->ifi_index;
    link.up = (info->ifi_flags & IFF_UP) != 0;
    if (values[IFLA_IFNAME]) link.name = values[IFLA_IFNAME].Text();
    link.mtu = values[IFLA_MTU].U32();
    if (values[IFLA_ADDRESS].size == 6) link.mac = MacText(values[IFLA_ADDRESS].bytes);
  });
  NetlinkMessage addresses{RTM_GETADDR, 0};
  ifaddrmsg family{};
  family.ifa_family = AF_INET;
  addresses.Fixed(family);
  socket.Dump(std::move(addresses), [&](const nlmsghdr* header) {
    const auto* info = static_cast<const ifaddrmsg*>(NLMSG_DATA(header));
    const auto values = ReadAttributes(IFA_RTA(info), IFA_PAYLOAD(header), IFA_LOCAL);
    const auto link = found.find(static_cast<int>(info->ifa_index));
    if (link == found.end() || !values[IFA_LOCAL]) return;
    link->second.addresses.push_back(AddressText(values[IFA_LOCAL].U32()) + "/" +
                                     std::to_string(info->ifa_prefixlen));
  });
  std::vector<Link> list;
  list.reserve(found.size());
  for (auto& [index, link] : found) list.push_back(std::move(link));
  return list;
}

}  // namespace covey
