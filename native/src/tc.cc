#include "tc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

namespace covey {
namespace {

constexpr uint64_t kBitsPerByte = 8;
/** The bucket holds so many parts of a second, the queue so many: small enough for an even flow and short delays. */
constexpr uint64_t kBucketPerSecond = 100, kQueuePerSecond = 10;
/** Whatever the rate, some packets must fit. */
constexpr uint64_t kBucketPackets = 2, kQueuePackets = 32;
constexpr uint64_t kHeader = 14;

uint32_t Capped(uint64_t bytes) {
  return static_cast<uint32_t>(std::min<uint64_t>(bytes, std::numeric_limits<uint32_t>::max() / 2));
}

}  // namespace

NetlinkMessage RateLimit(int index, uint64_t bits, uint32_t mtu, const char* name) {
  const uint64_t rate = bits / kBitsPerByte, packet = mtu + kHeader;
  const uint32_t bucket = Capped(std::max(rate / kBucketPerSecond, kBucketPackets * packet));
  tc_tbf_qopt options{};
  const bool is_wide = rate > std::numeric_limits<uint32_t>::max();
  options.rate.rate = is_wide ? std::numeric_limits<uint32_t>::max() : static_cast<uint32_t>(rate);
  // Said aloud, or the kernel asks for a table of old.
  options.rate.linklayer = TC_LINKLAYER_ETHERNET;
  options.limit = Capped(bucket + std::max(rate / kQueuePerSecond, kQueuePackets * packet));

  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = index;
  header.tcm_parent = TC_H_ROOT;
  NetlinkMessage message{RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, std::string("rate limit of ") + name};
  message.Fixed(header).PutText(TCA_KIND, "tbf");
  const size_t nest = message.Nest(TCA_OPTIONS);
  message.Put(TCA_TBF_PARMS, &options, sizeof options).PutU32(TCA_TBF_BURST, bucket);
  if (is_wide) message.Put(TCA_TBF_RATE64, &rate, sizeof rate);
  message.End(nest);
  return message;
}

}  // namespace covey
