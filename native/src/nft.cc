#include "nft.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <mutex>

#include "netlink.h"
#include "sys_error.h"

namespace covey {
namespace {

struct NftContext;

/**
 * The functions of libnftables.so.1 that we call, loaded when first needed: only hosts that run containers need the
 * library, and neither the manager nor the command line should fail to start without it.
 */
struct NftLibrary {
  NftContext* (*create)(uint32_t flags);
  void (*destroy)(NftContext*);
  int (*buffer_output)(NftContext*);
  int (*buffer_error)(NftContext*);
  void (*set_flags)(NftContext*, unsigned);
  int (*run)(NftContext*, const char*);
  const char* (*output)(NftContext*);
  const char* (*error)(NftContext*);
};

/** NFT_CTX_OUTPUT_JSON of nftables/libnftables.h. */
constexpr unsigned kJson = 1u << 4;

template <typename Function>
void Find(void* library, Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) throw SysError{ENOSYS, "dlsym", name, "load libnftables"};
}

const NftLibrary& Library() {
  static const NftLibrary library = [] {
    void* handle = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      throw SysError{ENOENT, "dlopen", "libnftables.so.1", "load libnftables",
                     "apt-get install libnftables1"};
    }
    NftLibrary found{};
    Find(handle, found.create, "nft_ctx_new");
    Find(handle, found.destroy, "nft_ctx_free");
    Find(handle, found.buffer_output, "nft_ctx_buffer_output");
    Find(handle, found.buffer_error, "nft_ctx_buffer_error");
    Find(handle, found.set_flags, "nft_ctx_output_set_flags");
    Find(handle, found.run, "nft_run_cmd_from_buffer");
    Find(handle, found.output, "nft_ctx_get_output_buffer");
    Find(handle, found.error, "nft_ctx_get_error_buffer");
    return found;
  }();
  return library;
}

/** nft explains with the offending line and a row of carets; the first line says it all. */
std::string FirstLine(const char* text) {
  const std::string all = text == nullptr ? "" : text;
  return all.substr(0, all.find('\n'));
}

}  // namespace

std::string RunNft(const std::string& script, bool json) {
  // libnftables keeps state in statics (scanner, cache of names), so one context at a time.
  static std::mutex one;
  const std::lock_guard<std::mutex> lock{one};
  const NftLibrary& nft = Library();
  std::unique_ptr<NftContext, void (*)(NftContext*)> context{nft.create(0), nft.destroy};
  if (!context) throw SysError{ENOMEM, "nft_ctx_new"};
  nft.buffer_output(context.get());
  nft.buffer_error(context.get());
  if (json) nft.set_flags(context.get(), kJson);
  errno = 0;
  if (nft.run(context.get(), script.c_str()) != 0) {
    const int cause = errno == 0 ? EINVAL : errno;
    throw SysError{cause, "nft", "table covey", "", FirstLine(nft.error(context.get()))};
  }
  const char* output = nft.output(context.get());
  return output == nullptr ? "" : output;
}

uint32_t NftGeneration() {
  NetlinkSocket socket{NETLINK_NETFILTER};
  NetlinkMessage message{(NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 0, "nftables generation"};
  message.Fixed(nfgenmsg{AF_UNSPEC, NFNETLINK_V0, 0});
  uint32_t generation = 0;
  socket.Ask(std::move(message), [&](const nlmsghdr* header) {
    const auto* start = static_cast<const uint8_t*>(NLMSG_DATA(header)) + NLMSG_ALIGN(sizeof(nfgenmsg));
    const auto values = ReadAttributes(start, NLMSG_PAYLOAD(header, sizeof(nfgenmsg)), NFTA_GEN_ID);
    generation = ntohl(values[NFTA_GEN_ID].U32());
  });
  return generation;
}

}  // namespace covey
