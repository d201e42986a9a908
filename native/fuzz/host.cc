// What comes from the kernel, the shim and the container itself: mountinfo, statistics, netlink, answers, requests, output.
#include <cstring>

#include "../shim/request.h"
#include "../src/cgroup.h"
#include "../src/cgroup_stats.h"
#include "../src/container.h"
#include "../src/exec_stream.h"
#include "../src/netlink.h"
#include "../src/shim_process.h"
#include "target.h"

extern "C" {
#include "../shim/log_line.h"
}

namespace covey_fuzz {
namespace {

void MountInfo(const std::string& input) {
  const covey::CgroupLayout layout = covey::ParseMountInfo(input);
  for (const std::string& folder : layout.FoldersOf("/a")) Must(folder.size() >= 2, "a folder has a path");
  layout.FolderOf("memory", "/a");
}

void Statistics(const std::string& input) {
  const std::vector<std::string> parts = Parts(input, 2);
  covey::FlatNumber(input, "usage_usec");
  covey::ParseIoStat(input);
  covey::ParseBlkio(parts[0], parts[1]);
  covey::ParsePressure(input);
}

void Netlink(const std::string& input) {
  for (const covey::NetlinkValue& value : covey::ReadAttributes(input.data(), input.size(), 32)) {
    if (!value) continue;
    value.U8();
    value.U32();
    Must(value.Text().size() <= value.size, "a text is no longer than its attribute");
  }
}

void Answer(const std::string& input) {
  Must(covey::ParseExecAnswer(input).output.size() <= input.size(), "the output is a part of the answer");
}

/** The end of a streamed command, as its helper tells it. */
void ExecEnd(const std::string& input) { covey::ExitCodeIn(input); }

void UidMap(const std::string& input) {
  for (const uint32_t uid : {0u, 1000u, UINT32_MAX}) covey::HostUidIn(input, uid);
}

void AddressBlock(const std::string& input) {
  const covey::Prefix prefix = covey::ParsePrefix("address", input);
  Must(prefix.length <= 32, "a prefix has at most 32 bits");
  const std::string again = covey::AddressText(prefix.address) + "/" + std::to_string(prefix.length);
  Must(covey::ParsePrefix("address", again).address == prefix.address, "an address is read as it is written");
}

void ShimAnswer(const std::string& input) {
  for (const std::string& word : covey::Understand(input)) {
    covey::PidIn(word);
    covey::TicksIn(word);
  }
}

void Request(const std::string& input) {
  std::string text = input.substr(0, 127);
  text.push_back('\0');
  const request read = request_read(text.data());
  Must(strlen(read.verb) < text.size(), "the verb is a part of the request");
}

void LogLine(const std::string& input) {
  if (input.size() < 2) return;
  const std::string text = input.substr(1, LOG_BATCH_MAX / 16);
  line_shape shape;
  line_shape_now(&shape, input[0] % 2 == 0 ? LOG_TEXT : LOG_JSON, "stdout");
  Must(line_cut(text.data(), text.size()) <= text.size(), "a cut lies inside the text");
  std::string out(line_room(&shape, text.size()), '\0');
  for (const auto put : {line_put, line_put_last}) {
    const size_t used = put(&shape, out.data(), text.data(), text.size());
    Must(used > 0 && used <= out.size() && out[used - 1] == '\n', "a line fits its room and ends");
  }
}

}  // namespace

const std::vector<Target> kHostTargets = {
    {"mountinfo", MountInfo},        {"statistics", Statistics},  {"netlink", Netlink},
    {"address-block", AddressBlock}, {"uid-map", UidMap},         {"exec-answer", Answer},
    {"exec-end", ExecEnd},           {"shim-answer", ShimAnswer}, {"request", Request},
    {"log-line", LogLine},
};

}  // namespace covey_fuzz
