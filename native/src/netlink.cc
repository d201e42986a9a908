#include "netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sys_error.h"

namespace covey {
namespace {

/** The kernel builds dumps of up to 32 KiB; a reader with less loses what does not fit. */
constexpr size_t kReceiveBytes = 64 << 10;
/** Messages a system call; their acks must fit the receive buffer before the first is read. */
constexpr size_t kBatchMax = 64;

Fd OpenSocket(int protocol) { return Fd{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol)}; }

/** Binds a new socket, which belongs to the namespace it was opened in. */
Fd Bound(Fd fd) {
  if (!fd) throw SysError{errno, "socket", "netlink"};
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
    throw SysError{errno, "bind", "netlink"};
  }
  // Both only make errors better, so their absence is no failure.
  const int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  return fd;
}

NetlinkAck ReadAck(const nlmsghdr* header) {
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return {EBADMSG, "short answer"};
  const auto* answer = static_cast<const nlmsgerr*>(NLMSG_DATA(header));
  NetlinkAck ack{-answer->error, ""};
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return ack;
  size_t skip = sizeof *answer;
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) skip += answer->msg.nlmsg_len - sizeof(nlmsghdr);
  const size_t size = header->nlmsg_len - NLMSG_HDRLEN;
  if (skip >= size) return ack;
  const auto values =
      ReadAttributes(static_cast<const uint8_t*>(NLMSG_DATA(header)) + skip, size - skip, NLMSGERR_ATTR_MSG);
  if (values[NLMSGERR_ATTR_MSG]) ack.text = values[NLMSGERR_ATTR_MSG].Text();
  return ack;
}

}  // namespace

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags, std::string path) : path_(std::move(path)) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
  Append(&header, sizeof header);
}

void NetlinkMessage::Append(const void* bytes, size_t size) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

NetlinkMessage& NetlinkMessage::Put(uint16_t type, const void* value, size_t size) {
  nlattr attribute{};
  attribute.nla_len = static_cast<uint16_t>(NLA_HDRLEN + size);
  attribute.nla_type = type;
  Append(&attribute, sizeof attribute);
  Append(value, size);
  return *this;
}

NetlinkMessage& NetlinkMessage::PutText(uint16_t type, const std::string& text) {
  return Put(type, text.c_str(), text.size() + 1);
}

size_t NetlinkMessage::Nest(uint16_t type) {
  const size_t at = bytes_.size();
  Put(static_cast<uint16_t>(type | NLA_F_NESTED), nullptr, 0);
  return at;
}

void NetlinkMessage::End(size_t nest) {
  reinterpret_cast<nlattr*>(bytes_.data() + nest)->nla_len = static_cast<uint16_t>(bytes_.size() - nest);
}

const std::vector<uint8_t>& NetlinkMessage::Finish(uint32_t sequence) {
  auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
  header->nlmsg_len = static_cast<uint32_t>(bytes_.size());
  header->nlmsg_seq = sequence;
  return bytes_;
}

uint8_t NetlinkValue::U8() const { return size >= 1 ? bytes[0] : 0; }

uint32_t NetlinkValue::U32() const {
  uint32_t value = 0;
  if (size >= sizeof value) memcpy(&value, bytes, sizeof value);
  return value;
}

std::string NetlinkValue::Text() const {
  return {reinterpret_cast<const char*>(bytes), strnlen(reinterpret_cast<const char*>(bytes), size)};
}

std::vector<NetlinkValue> ReadAttributes(const void* start, size_t size, uint16_t highest) {
  std::vector<NetlinkValue> values(static_cast<size_t>(highest) + 1);
  const auto* at = static_cast<const uint8_t*>(start);
  while (size >= NLA_HDRLEN) {
    nlattr attribute{};
    memcpy(&attribute, at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > size) break;
    const uint16_t type = attribute.nla_type & NLA_TYPE_MASK;
    if (type <= highest)
      values[type] = {at + NLA_HDRLEN, static_cast<size_t>(attribute.nla_len) - NLA_HDRLEN};
    const size_t step = NLA_ALIGN(attribute.nla_len);
    if (step >= size) break;
    at += step;
    size -= step;
  }
  return values;
}

NetlinkSocket::NetlinkSocket(int protocol) : NetlinkSocket(Bound(OpenSocket(protocol))) {}

NetlinkSocket::NetlinkSocket(Fd fd) : fd_(std::move(fd)), buffer_(kReceiveBytes) {}

NetlinkSocket NetlinkSocket::InNamespaceOf(pid_t pid, int protocol) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  Fd target{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!target) throw SysError{errno, "open", path};
  const Fd home{open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
  if (!home) throw SysError{errno, "open", "/proc/thread-self/ns/net"};
  if (setns(target.get(), CLONE_NEWNET) != 0) throw SysError{errno, "setns", path};
  Fd opened = OpenSocket(protocol);
  const int error = errno;
  // A thread that could not find its way back would do all later work in there: the host's own, in a container.
  if (setns(home.get(), CLONE_NEWNET) != 0) std::abort();
  errno = error;
  return NetlinkSocket{Bound(std::move(opened))};
}

void NetlinkSocket::Send(const std::vector<uint8_t>& bytes) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  while (sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
                sizeof kernel) < 0) {
    if (errno != EINTR) throw SysError{errno, "sendto", "netlink"};
  }
}

size_t NetlinkSocket::Receive() {
  for (;;) {
    const ssize_t size = recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (size >= 0) return static_cast<size_t>(size);
    if (errno != EINTR) throw SysError{errno, "recv", "netlink"};
  }
}

std::vector<NetlinkAck> NetlinkSocket::Batch(std::vector<NetlinkMessage>& messages) {
  std::vector<NetlinkAck> acks(messages.size());
  for (size_t first = 0; first < messages.size(); first += kBatchMax) {
    const size_t count = std::min(kBatchMax, messages.size() - first);
    const uint32_t base = sequence_ + 1;
    std::vector<uint8_t> bytes;
    for (size_t i = 0; i < count; i++) {
      const auto& one = messages[first + i].Finish(++sequence_);
      bytes.insert(bytes.end(), one.begin(), one.end());
    }
    for (size_t at = 0; at < bytes.size();) {
      auto* header = reinterpret_cast<nlmsghdr*>(bytes.data() + at);
      header->nlmsg_flags |= NLM_F_ACK;
      at += header->nlmsg_len;
    }
    Send(bytes);
    for (size_t missing = count; missing > 0;) {
      auto size = static_cast<unsigned>(Receive());
      for (auto* header = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(header, size);
           header = NLMSG_NEXT(header, size)) {
        const uint32_t index = header->nlmsg_seq - base;
        if (header->nlmsg_type != NLMSG_ERROR || index >= count) continue;
        acks[first + index] = ReadAck(header);
        missing--;
      }
    }
  }
  return acks;
}

void NetlinkSocket::Run(std::vector<NetlinkMessage> messages, const char* call) {
  const auto acks = Batch(messages);
  for (size_t i = 0; i < acks.size(); i++) {
    if (acks[i].error != 0) throw SysError{acks[i].error, call, messages[i].path(), "", acks[i].text};
  }
}

bool NetlinkSocket::Dump(NetlinkMessage message, const std::function<void(const nlmsghdr*)>& visit) {
  const uint32_t sequence = ++sequence_;
  auto bytes = message.Finish(sequence);
  reinterpret_cast<nlmsghdr*>(bytes.data())->nlmsg_flags |= NLM_F_DUMP;
  Send(bytes);
  bool whole = true;
  for (;;) {
    auto size = static_cast<unsigned>(Receive());
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(header, size);
         header = NLMSG_NEXT(header, size)) {
      if (header->nlmsg_seq != sequence) continue;
      if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) whole = false;
      if (header->nlmsg_type == NLMSG_DONE) return whole;
      if (header->nlmsg_type == NLMSG_ERROR) {
        const NetlinkAck ack = ReadAck(header);
        throw SysError{ack.error, "netlink dump", message.path(), "", ack.text};
      }
      visit(header);
    }
  }
}

void NetlinkSocket::Ask(NetlinkMessage message, const std::function<void(const nlmsghdr*)>& visit) {
  const uint32_t sequence = ++sequence_;
  Send(message.Finish(sequence));
  for (;;) {
    auto size = static_cast<unsigned>(Receive());
    for (auto* header = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(header, size);
         header = NLMSG_NEXT(header, size)) {
      if (header->nlmsg_seq != sequence) continue;
      if (header->nlmsg_type == NLMSG_ERROR) {
        const NetlinkAck ack = ReadAck(header);
        if (ack.error != 0) throw SysError{ack.error, "netlink", message.path(), "", ack.text};
        return;
      }
      visit(header);
      return;
    }
  }
}

Prefix ParsePrefix(const std::string& field, const std::string& text) {
  const size_t slash = text.find('/');
  const std::string address = text.substr(0, slash);
  Prefix prefix;
  in_addr parsed{};
  if (inet_pton(AF_INET, address.c_str(), &parsed) != 1) {
    throw InvalidInput{field, "\"" + text + "\" is not an IPv4 address or prefix"};
  }
  prefix.address = parsed.s_addr;
  if (slash == std::string::npos) return prefix;
  const std::string length = text.substr(slash + 1);
  const bool digits =
      !length.empty() && length.size() <= 2 && length.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || std::stoi(length) > 32)
    throw InvalidInput{field, "\"" + text + "\" has no length of 0 to 32"};
  prefix.length = static_cast<uint8_t>(std::stoi(length));
  return prefix;
}

std::string AddressText(uint32_t address) {
  char text[INET_ADDRSTRLEN];
  in_addr value{address};
  return inet_ntop(AF_INET, &value, text, sizeof text);
}

}  // namespace covey
