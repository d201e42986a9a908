// Netlink without a library: messages, batches with one answer each, dumps. Used by rtnetlink (link, route) and
// nfnetlink (conntrack, nft). Source: netlink(7), include/uapi/linux/netlink.h.
#pragma once

#include <linux/netlink.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fd.h"

namespace covey {

/** One netlink request under construction: header, fixed part, attributes. */
class NetlinkMessage {
 public:
  /** NLM_F_REQUEST is added to `flags`. `path` names the object for errors. */
  NetlinkMessage(uint16_t type, uint16_t flags, std::string path = "");

  /** Appends the fixed part that follows the header, such as ifinfomsg. */
  template <typename Part>
  NetlinkMessage& Fixed(const Part& part) {
    Append(&part, sizeof part);
    return *this;
  }
  NetlinkMessage& Put(uint16_t type, const void* value, size_t size);
  NetlinkMessage& PutU8(uint16_t type, uint8_t value) { return Put(type, &value, sizeof value); }
  NetlinkMessage& PutU32(uint16_t type, uint32_t value) { return Put(type, &value, sizeof value); }
  /** With the closing zero. */
  NetlinkMessage& PutText(uint16_t type, const std::string& text);
  /** Opens a nested attribute; close it with `End(what this returned)`. */
  size_t Nest(uint16_t type);
  void End(size_t nest);

  const std::string& path() const { return path_; }
  /** The bytes to send, with length and `sequence` filled in. */
  const std::vector<uint8_t>& Finish(uint32_t sequence);

 private:
  void Append(const void* bytes, size_t size);

  std::vector<uint8_t> bytes_;
  std::string path_;
};

/** A view of one attribute's payload; valid as long as the message it was read from. */
struct NetlinkValue {
  const uint8_t* bytes = nullptr;
  size_t size = 0;

  explicit operator bool() const { return bytes != nullptr; }
  uint8_t U8() const;
  /** In the byte order it was sent in. */
  uint32_t U32() const;
  std::string Text() const;
};

/** Attributes by type; those above `highest` and malformed rests are dropped. */
std::vector<NetlinkValue> ReadAttributes(const void* start, size_t size, uint16_t highest);

/** How one message of a batch fared: errno, 0 = well, and the kernel's sentence if it gave one. */
struct NetlinkAck {
  int error = 0;
  std::string text;
};

/** A netlink socket. Belongs to the network namespace it was opened in, whichever thread uses it later. */
class NetlinkSocket {
 public:
  /** In the namespace of the calling thread. */
  explicit NetlinkSocket(int protocol);
  /** In the network namespace of process `pid`. The caller keeps that process from being reaped meanwhile. */
  static NetlinkSocket InNamespaceOf(pid_t pid, int protocol);

  /** Sends all in few system calls; carries on after a failure. One answer per message, in their order. */
  std::vector<NetlinkAck> Batch(std::vector<NetlinkMessage>& messages);
  /** The same, throwing SysError with `call` for the first message that failed. */
  void Run(std::vector<NetlinkMessage> messages, const char* call);
  /** Calls `visit` with every answer to a dump request. Dumps that changed meanwhile are told, not repeated. */
  bool Dump(NetlinkMessage message, const std::function<void(const nlmsghdr*)>& visit);
  /** One request with one answer that is not an ack. */
  void Ask(NetlinkMessage message, const std::function<void(const nlmsghdr*)>& visit);

  const Fd& fd() const { return fd_; }

 private:
  explicit NetlinkSocket(Fd fd);
  void Send(const std::vector<uint8_t>& bytes);
  size_t Receive();

  Fd fd_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_;
};

/** An IPv4 address or prefix: `10.1.2.3` (length 32) or `10.1.2.0/24`. Throws InvalidInput naming `field`. */
struct Prefix {
  /** Network byte order. */
  uint32_t address = 0;
  uint8_t length = 32;
};
Prefix ParsePrefix(const std::string& field, const std::string& text);
/** `10.1.2.3` */
std::string AddressText(uint32_t address);

}  // namespace covey
