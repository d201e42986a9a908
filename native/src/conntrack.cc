#include "conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "netlink.h"
#include "process.h"
#include "sys_error.h"

namespace covey {
namespace {

/** Bits of CTA_FILTER_ORIG_FLAGS and _REPLY_FLAGS, which the kernel's headers do not publish (nf_internals.h). */
constexpr uint32_t kFilterSource = 1u << 0;
/**
 * The kernel walks its whole table for each question, 5 ms for an empty one of the usual size, so one question about
 * everything is cheaper than two about one address, unless the answer is long.
 */
constexpr uint32_t kCopiedMax = 10'000;

struct Tuple {
  uint32_t source = 0;
  uint32_t destination = 0;
  uint8_t protocol = 0;
  uint16_t destination_port = 0;
};

struct Connection {
  Tuple original;
  Tuple reply;
  /** As sent, to name the entry when it is deleted. */
  std::vector<uint8_t> original_bytes;
  /** Network byte order. */
  uint32_t id = 0;
  uint32_t status = 0;
  uint32_t timeout_seconds = 0;
  uint8_t tcp_state = 0;
};

Tuple ReadTuple(const NetlinkValue& value) {
  Tuple tuple;
  const auto parts = ReadAttributes(value.bytes, value.size, CTA_TUPLE_PROTO);
  const auto& ip = parts[CTA_TUPLE_IP];
  const auto& proto = parts[CTA_TUPLE_PROTO];
  if (ip) {
    const auto addresses = ReadAttributes(ip.bytes, ip.size, CTA_IP_V4_DST);
    tuple.source = addresses[CTA_IP_V4_SRC].U32();
    tuple.destination = addresses[CTA_IP_V4_DST].U32();
  }
  if (proto) {
    const auto numbers = ReadAttributes(proto.bytes, proto.size, CTA_PROTO_DST_PORT);
    tuple.protocol = numbers[CTA_PROTO_NUM].U8();
    const auto& port = numbers[CTA_PROTO_DST_PORT];
    if (port.size >= 2) tuple.destination_port = static_cast<uint16_t>(port.bytes[0] << 8 | port.bytes[1]);
  }
  return tuple;
}

Connection ReadConnection(const nlmsghdr* header) {
  const auto* start = static_cast<const uint8_t*>(NLMSG_DATA(header)) + NLMSG_ALIGN(sizeof(nfgenmsg));
  const auto values = ReadAttributes(start, NLMSG_PAYLOAD(header, sizeof(nfgenmsg)), CTA_ID);
  Connection connection;
  const auto& original = values[CTA_TUPLE_ORIG];
  connection.original = ReadTuple(original);
  connection.original_bytes.assign(original.bytes, original.bytes + original.size);
  connection.reply = ReadTuple(values[CTA_TUPLE_REPLY]);
  connection.id = values[CTA_ID].U32();
  connection.status = ntohl(values[CTA_STATUS].U32());
  connection.timeout_seconds = ntohl(values[CTA_TIMEOUT].U32());
  if (const auto& info = values[CTA_PROTOINFO]) {
    const auto kinds = ReadAttributes(info.bytes, info.size, CTA_PROTOINFO_TCP);
    if (const auto& tcp = kinds[CTA_PROTOINFO_TCP]) {
      connection.tcp_state =
          ReadAttributes(tcp.bytes, tcp.size, CTA_PROTOINFO_TCP_STATE)[CTA_PROTOINFO_TCP_STATE].U8();
    }
  }
  return connection;
}

NetlinkMessage Request(uint8_t kind, const std::string& path) {
  NetlinkMessage message{static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | kind), 0, path};
  message.Fixed(nfgenmsg{AF_INET, NFNETLINK_V0, 0});
  return message;
}

/** Asks the kernel (5.8 and later) for entries with this source only, so that a busy host's table is not copied. */
void PutSourceFilter(NetlinkMessage& message, bool of_reply, uint32_t source) {
  const size_t tuple = message.Nest(of_reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
  const size_t ip = message.Nest(CTA_TUPLE_IP);
  message.PutU32(CTA_IP_V4_SRC, source);
  message.End(ip);
  message.End(tuple);
  const size_t filter = message.Nest(CTA_FILTER);
  message.PutU32(CTA_FILTER_ORIG_FLAGS, of_reply ? 0 : kFilterSource);
  message.PutU32(CTA_FILTER_REPLY_FLAGS, of_reply ? kFilterSource : 0);
  message.End(filter);
}

using Visit = std::function<void(const Connection&)>;

/** Entries whose source, in the direction asked for, is `source`. Checked here too: older kernels filter nothing. */
void EachFrom(NetlinkSocket& socket, bool of_reply, uint32_t source, const Visit& visit) {
  const auto read = [&](const nlmsghdr* header) {
    const Connection connection = ReadConnection(header);
    if ((of_reply ? connection.reply : connection.original).source == source) visit(connection);
  };
  NetlinkMessage message = Request(IPCTNL_MSG_CT_GET, "conntrack");
  PutSourceFilter(message, of_reply, source);
  try {
    socket.Dump(std::move(message), read);
  } catch (const SysError& error) {
    if (error.error() != EINVAL && error.error() != EOPNOTSUPP) throw;
    socket.Dump(Request(IPCTNL_MSG_CT_GET, "conntrack"), read);
  }
}

uint32_t UdpStreamSeconds() {
  try {
    return static_cast<uint32_t>(
        std::stoul(ReadSmallFile("/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream")));
  } catch (const std::exception&) {
    return 120;  // The kernel's default; the file is only there once tracking is in use.
  }
}

bool IsOpen(const Connection& connection, uint32_t stream_seconds, uint32_t recent_seconds) {
  switch (connection.original.protocol) {
    case IPPROTO_TCP:
      return connection.tcp_state != TCP_CONNTRACK_NONE && connection.tcp_state != TCP_CONNTRACK_TIME_WAIT &&
             connection.tcp_state != TCP_CONNTRACK_CLOSE;
    case IPPROTO_UDP:
      // The timeout is set anew by each packet, so what is left of it tells the silence.
      return (connection.status & IPS_ASSURED) != 0 &&
             connection.timeout_seconds + recent_seconds >= stream_seconds;
    default:
      return false;
  }
}

}  // namespace

uint32_t CountConnections(const std::string& address, uint32_t udp_recent_seconds) {
  const uint32_t target = ParsePrefix("address", address).address;
  const uint32_t stream = UdpStreamSeconds();
  NetlinkSocket socket{NETLINK_NETFILTER};
  uint32_t count = 0;
  EachFrom(socket, true, target, [&](const Connection& connection) {
    if (IsOpen(connection, stream, udp_recent_seconds)) count++;
  });
  return count;
}

namespace {

NetlinkMessage Deletion(const Connection& connection, const std::string& what) {
  NetlinkMessage message = Request(IPCTNL_MSG_CT_DELETE, what);
  message.Put(CTA_TUPLE_ORIG | NLA_F_NESTED, connection.original_bytes.data(),
              connection.original_bytes.size());
  // With its id, so that a connection that took the place of a finished one is not hit.
  message.PutU32(CTA_ID, connection.id);
  return message;
}

uint32_t Delete(NetlinkSocket& socket, std::vector<NetlinkMessage>& batch, const std::string& what) {
  uint32_t count = 0;
  for (const NetlinkAck& ack : socket.Batch(batch)) {
    if (ack.error == 0) count++;
    if (ack.error != 0 && ack.error != ENOENT)
      throw SysError{ack.error, "IPCTNL_MSG_CT_DELETE", what, "", ack.text};
  }
  return count;
}

/** How many there are in this network namespace; all there can be when the kernel does not say. */
uint32_t TrackedConnections() {
  try {
    return static_cast<uint32_t>(std::stoul(ReadSmallFile("/proc/sys/net/netfilter/nf_conntrack_count")));
  } catch (const std::exception&) {
    return UINT32_MAX;
  }
}

}  // namespace

uint32_t ForgetConnections(const ConnectionFilter& filter) {
  const uint32_t target = ParsePrefix("address", filter.address).address;
  NetlinkSocket socket{NETLINK_NETFILTER};
  std::vector<NetlinkMessage> batch;
  EachFrom(socket, true, target, [&](const Connection& connection) {
    if (filter.protocol != 0 && connection.original.protocol != filter.protocol) return;
    if (filter.published != 0 && connection.original.destination_port != filter.published) return;
    batch.push_back(Deletion(connection, filter.address));
  });
  return Delete(socket, batch, filter.address);
}

uint32_t ForgetAddresses(const std::vector<std::string>& addresses) {
  const uint32_t tracked = TrackedConnections();
  if (tracked == 0 || addresses.empty()) return 0;
  std::set<uint32_t> targets;
  for (const std::string& address : addresses) targets.insert(ParsePrefix("address", address).address);
  NetlinkSocket socket{NETLINK_NETFILTER};
  std::vector<NetlinkMessage> batch;
  const auto collect = [&](const Connection& connection) {
    batch.push_back(Deletion(connection, addresses.front()));
  };
  if (tracked > kCopiedMax && targets.size() == 1) {
    EachFrom(socket, true, *targets.begin(), collect);
    EachFrom(socket, false, *targets.begin(), collect);
  } else {
    socket.Dump(Request(IPCTNL_MSG_CT_GET, "conntrack"), [&](const nlmsghdr* header) {
      const Connection connection = ReadConnection(header);
      if (targets.count(connection.original.source) + targets.count(connection.reply.source) > 0)
        collect(connection);
    });
  }
  return Delete(socket, batch, addresses.front());
}

uint32_t ForgetBlock(const std::string& block, const std::vector<std::string>& kept) {
  if (TrackedConnections() == 0) return 0;
  const Prefix prefix = ParsePrefix("block", block);
  const uint32_t mask = prefix.length == 0 ? 0 : htonl(~0u << (32 - prefix.length));
  std::set<uint32_t> spared;
  for (const std::string& address : kept) spared.insert(ParsePrefix("kept", address).address);
  const auto is_stale = [&](uint32_t address) {
    return ((address ^ prefix.address) & mask) == 0 && spared.count(address) == 0;
  };
  NetlinkSocket socket{NETLINK_NETFILTER};
  std::vector<NetlinkMessage> batch;
  socket.Dump(Request(IPCTNL_MSG_CT_GET, "conntrack"), [&](const nlmsghdr* header) {
    const Connection connection = ReadConnection(header);
    if (is_stale(connection.original.source) || is_stale(connection.reply.source))
      batch.push_back(Deletion(connection, block));
  });
  return Delete(socket, batch, block);
}

}  // namespace covey
