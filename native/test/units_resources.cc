// linux.resources: what becomes of them on v1 and v2, device rules, cgroup names, updates, statistics.
#include "units_resources.h"

#include <linux/bpf.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "../src/cgroup_name.h"
#include "../src/cgroup_resources.h"
#include "../src/cgroup_stats.h"
#include "../src/cgroup_update.h"
#include "../src/device_rules.h"
#include "../src/sys_error.h"

namespace units_resources {
namespace {

using covey::CgroupLayout;
using covey::DeviceRule;
using nlohmann::json;

int failures = 0;

void Same(const std::string& is, const std::string& wanted, const char* what) {
  if (is == wanted) return;
  printf("failed: %s\n  is     %s\n  wanted %s\n", what, is.c_str(), wanted.c_str());
  failures++;
}

CgroupLayout V1() {
  std::string text;
  for (const char* name :
       {"memory", "cpu", "cpuset", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "rdma"}) {
    const std::string controller = name;
    text += "31 20 0:2 / /c/" + controller + " rw - cgroup cgroup rw," + controller + "\n";
  }
  return covey::ParseMountInfo(text);
}

CgroupLayout V2() { return covey::ParseMountInfo("30 20 0:1 / /c rw - cgroup2 cgroup rw\n"); }

/** "file=value" in order, ? for optional, ! for verified ones, | before what is tried otherwise; or "refused FIELD". */
std::string Text(const std::vector<covey::CgroupSetting>& list) {
  using Mode = covey::CgroupSetting::Mode;
  std::string text;
  for (const auto& s : list) {
    text += (text.empty() ? "" : ", ") + s.file + "=" + s.value;
    if (s.mode != Mode::kMust) text += s.mode == Mode::kOptional ? "?" : "!";
    if (!s.other_file.empty()) text += "|" + s.other_file + "=" + s.other_value;
  }
  return text;
}

std::string Refused(const std::function<std::string()>& action) {
  try {
    return action();
  } catch (const covey::InvalidInput& e) {
    return "refused " + e.field();
  }
}

std::string Settings(const char* resources, const CgroupLayout& layout) {
  return Refused([&] { return Text(covey::SettingsOf(json::parse(resources), layout, "/a")); });
}

void Controllers() {
  const struct {
    const char* resources;
    const char* v1;
    const char* v2;
  } cases[] = {
      {R"({"memory":{"limit":9}})", "memory.limit_in_bytes=9, memory.memsw.limit_in_bytes=9?",
       "memory.max=9, memory.swap.max=0?"},
      {R"({"memory":{"limit":9,"swap":12,"reservation":4}})",
       "memory.limit_in_bytes=9, memory.memsw.limit_in_bytes=12, memory.soft_limit_in_bytes=4",
       "memory.max=9, memory.swap.max=3, memory.low=4"},
      {R"({"memory":{"limit":9,"swap":-1}})", "memory.limit_in_bytes=9, memory.memsw.limit_in_bytes=-1",
       "memory.max=9, memory.swap.max=max"},
      {R"({"memory":{"limit":9,"swap":8}})", "refused linux.resources.memory.swap",
       "refused linux.resources.memory.swap"},
      {R"({"memory":{"kernelTCP":5,"swappiness":7}})",
       "memory.kmem.tcp.limit_in_bytes=5!, memory.swappiness=7", "refused linux.resources.memory.kernelTCP"},
      {R"({"memory":{"kernel":5}})", "memory.kmem.limit_in_bytes=5!",
       "refused linux.resources.memory.kernel"},
      {R"({"memory":{"limit":9,"kernel":5}})",
       "memory.limit_in_bytes=9, memory.memsw.limit_in_bytes=9?, memory.kmem.limit_in_bytes=5?",
       "refused linux.resources.memory.kernel"},
      {R"({"memory":{"swappiness":0}})", "memory.swappiness=0", "refused linux.resources.memory.swappiness"},
      {R"({"memory":{"disableOOMKiller":true,"useHierarchy":true}})",
       "memory.oom_control=1, memory.use_hierarchy=1", "refused linux.resources.memory.disableOOMKiller"},
      {R"({"memory":{"useHierarchy":false}})", "refused linux.resources.memory.useHierarchy",
       "refused linux.resources.memory.useHierarchy"},
      {R"({"cpu":{"shares":1024,"quota":5000,"period":10000,"burst":100,"cpus":"0-1","mems":"0"}})",
       "cpu.shares=1024, cpu.cfs_period_us=10000, cpu.cfs_quota_us=5000, cpu.cfs_burst_us=100, "
       "cpuset.cpus=0-1, cpuset.mems=0",
       "cpu.weight=100, cpu.max=5000 10000, cpu.max.burst=100, cpuset.cpus=0-1, cpuset.mems=0"},
      {R"({"cpu":{"quota":-1,"idle":1}})", "cpu.cfs_quota_us=-1, cpu.idle=1", "cpu.max=max, cpu.idle=1"},
      {R"({"cpu":{"realtimePeriod":10,"realtimeRuntime":5}})", "cpu.rt_period_us=10, cpu.rt_runtime_us=5",
       "refused linux.resources.cpu.realtimePeriod"},
      {R"({"pids":{"limit":-1}})", "pids.max=max", "pids.max=max"},
      {R"({"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":10}]}})",
       "blkio.weight=500|blkio.bfq.weight=500, blkio.weight_device=8:0 10|blkio.bfq.weight_device=8:0 10",
       "io.bfq.weight=500|io.weight=default 4950, io.bfq.weight=8:0 10|io.weight=8:0 1"},
      {R"({"blockIO":{"weight":9}})", "refused linux.resources.blockIO.weight",
       "refused linux.resources.blockIO.weight"},
      {R"({"blockIO":{"leafWeight":10}})", "blkio.leaf_weight=10",
       "refused linux.resources.blockIO.leafWeight"},
      {R"({"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":1,"rate":7}],
                      "throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}})",
       "blkio.throttle.read_bps_device=8:1 7, blkio.throttle.write_iops_device=8:1 0",
       "io.max=8:1 rbps=7, io.max=8:1 wiops=max"},
      {R"({"hugepageLimits":[{"pageSize":"2MB","limit":4}]})",
       "hugetlb.2MB.limit_in_bytes=4, hugetlb.2MB.rsvd.limit_in_bytes=4?",
       "hugetlb.2MB.max=4, hugetlb.2MB.rsvd.max=4?"},
      {R"({"hugepageLimits":[{"pageSize":"../2MB","limit":4}]})", "refused linux.resources.hugepageLimits",
       "refused linux.resources.hugepageLimits"},
      {R"({"network":{"classID":5,"priorities":[{"name":"eth0","priority":3}]}})",
       "net_cls.classid=5, net_prio.ifpriomap=eth0 3", "refused linux.resources.network"},
      {R"({"rdma":{"mlx0":{"hcaHandles":1,"hcaObjects":2}}})", "rdma.max=mlx0 hca_handle=1 hca_object=2",
       "rdma.max=mlx0 hca_handle=1 hca_object=2"},
      {R"({"unified":{"memory.high":"5","memory.oom.group":"1"}})",
       "refused linux.resources.unified.memory.high", "memory.high=5, memory.oom.group=1"},
      {R"({"unified":{"cgroup.procs":"1"}})", "refused linux.resources.unified.cgroup.procs",
       "refused linux.resources.unified.cgroup.procs"},
      {R"({"unified":{"../x.max":"1"}})", "refused linux.resources.unified.../x.max",
       "refused linux.resources.unified.../x.max"},
  };
  for (const auto& [resources, v1, v2] : cases) {
    Same(Settings(resources, V1()), v1, resources);
    Same(Settings(resources, V2()), v2, resources);
  }
  const CgroupLayout memory_only =
      covey::ParseMountInfo("31 20 0:2 / /c/memory rw - cgroup cgroup rw,memory\n");
  Same(Settings(R"({"rdma":{"a":{"hcaHandles":1}}})", memory_only), "refused linux.resources.rdma.a",
       "no rdma");
  Same(Settings(R"({"cpu":{"shares":2}})", memory_only), "refused linux.resources.cpu.shares", "no cpu");
  Same(std::to_string(covey::WeightOfShares(2)) + " " + std::to_string(covey::WeightOfShares(262144)),
       "1 10000", "the ends of the shares");
}

std::string Update(const char* resources, const CgroupLayout& layout,
                   const std::map<std::string, std::string>& now) {
  return Refused([&] {
    return Text(covey::PlanUpdate(json::parse(resources), layout, "/a", [&](const std::string& path) {
      const auto found = now.find(path);
      return found == now.end() ? std::string() : found->second;
    }));
  });
}

void Updates() {
  const std::map<std::string, std::string> no_swap = {{"/c/memory/a/memory.limit_in_bytes", "100\n"},
                                                      {"/c/memory/a/memory.memsw.limit_in_bytes", "100\n"},
                                                      {"/c/memory/a/memory.usage_in_bytes", "60\n"},
                                                      {"/c/cpu/a/cpu.cfs_quota_us", "1000\n"}};
  Same(Update(R"({"memory":{"limit":200}})", V1(), no_swap),
       "memory.memsw.limit_in_bytes=200, memory.limit_in_bytes=200", "upwards the sum goes first");
  Same(Update(R"({"memory":{"limit":70}})", V1(), no_swap),
       "memory.limit_in_bytes=70, memory.memsw.limit_in_bytes=70", "downwards memory goes first");
  Same(Update(R"({"memory":{"limit":-1,"swap":-1}})", V1(), no_swap),
       "memory.memsw.limit_in_bytes=-1, memory.limit_in_bytes=-1", "no limit is the highest");
  Same(Update(R"({"memory":{"limit":50,"checkBeforeUpdate":true}})", V1(), no_swap),
       "refused linux.resources.memory.limit", "a limit below use");
  Same(Update(R"({"cpu":{"quota":500,"burst":400}})", V1(), no_swap),
       "cpu.cfs_burst_us=400, cpu.cfs_quota_us=500", "downwards the burst goes first");
  Same(Update(R"({"cpu":{"quota":5000,"burst":4000}})", V1(), no_swap),
       "cpu.cfs_quota_us=5000, cpu.cfs_burst_us=4000", "the quota makes room for the burst");
  const std::map<std::string, std::string> swap = {{"/c/memory/a/memory.limit_in_bytes", "100"},
                                                   {"/c/memory/a/memory.memsw.limit_in_bytes", "150"}};
  Same(Update(R"({"memory":{"limit":120}})", V1(), swap),
       "memory.limit_in_bytes=120, memory.memsw.limit_in_bytes=150", "swap in force stays");
  Same(Update(R"({"memory":{"limit":160}})", V1(), swap), "refused linux.resources.memory.limit",
       "a limit above the sum");
  const std::map<std::string, std::string> v2 = {{"/c/a/memory.max", "100"}, {"/c/a/cpu.max", "5000 100000"}};
  Same(Update(R"({"memory":{"swap":130}})", V2(), v2), "memory.max=100, memory.swap.max=30",
       "swap alone, v2");
  Same(Update(R"({"cpu":{"period":50000}})", V2(), v2), "cpu.max=5000 50000", "the period alone, v2");
  Same(Update(R"({"devices":[{"allow":true}]})", V2(), v2), "refused linux.resources.devices", "devices");
}

std::string Lines(const char* rules) {
  return Refused([&] {
    std::string text;
    for (const auto& line : covey::DeviceLines(covey::DeviceRulesOf({{"devices", json::parse(rules)}})))
      text += (text.empty() ? "" : ", ") + line.file.substr(8) + " " + line.text;
    return text;
  });
}

/** Runs a device program as the kernel would; -1 when it reads or jumps outside. */
int64_t RunProgram(const std::vector<covey::BpfInstruction>& code, const uint32_t context[3]) {
  uint64_t registers[11] = {};
  for (size_t at = 0; at < code.size(); at++) {
    const auto& i = code[at];
    uint64_t& to = registers[i.registers & 15];
    const uint64_t from = registers[i.registers >> 4];
    switch (i.code) {
      case BPF_LDX | BPF_MEM | BPF_W:
        if (i.registers >> 4 != 1 || i.offset < 0 || i.offset > 8) return -1;
        to = context[i.offset / 4];
        break;
      case BPF_ALU64 | BPF_MOV | BPF_X:
        to = from;
        break;
      case BPF_ALU64 | BPF_MOV | BPF_K:
        to = static_cast<uint64_t>(i.number);
        break;
      case BPF_ALU64 | BPF_AND | BPF_K:
        to &= static_cast<uint64_t>(i.number);
        break;
      case BPF_ALU64 | BPF_RSH | BPF_K:
        to >>= i.number;
        break;
      case BPF_JMP32 | BPF_JNE | BPF_K:
        if (static_cast<uint32_t>(to) != static_cast<uint32_t>(i.number)) at += static_cast<size_t>(i.offset);
        break;
      case BPF_JMP | BPF_JNE | BPF_K:
        if (to != static_cast<uint64_t>(i.number)) at += static_cast<size_t>(i.offset);
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        if (to == static_cast<uint64_t>(i.number)) at += static_cast<size_t>(i.offset);
        break;
      case BPF_JMP | BPF_EXIT:
        return static_cast<int64_t>(registers[0]);
      default:
        return -1;
    }
  }
  return -1;
}

bool Fits(const DeviceRule& rule, char type, int64_t major, int64_t minor) {
  return (rule.type == 'a' || rule.type == type) && (rule.major < 0 || rule.major == major) &&
         (rule.minor < 0 || rule.minor == minor);
}

/** The contract of DeviceRule in its plainest form. */
bool Allowed(const std::vector<DeviceRule>& rules, char type, int64_t major, int64_t minor, unsigned wanted) {
  for (const unsigned bit : {1u, 2u, 4u}) {
    if (!(wanted & bit)) continue;
    bool allowed = true;
    for (const DeviceRule& rule : rules) {
      if (Fits(rule, type, major, minor) && rule.access & bit) allowed = rule.allow;
    }
    if (!allowed) return false;
  }
  return true;
}

void DevicePrograms() {
  std::mt19937 random(7);
  const auto below = [&](unsigned end) { return static_cast<int>(random() % end); };
  for (int round = 0; round < 2000; round++) {
    std::vector<DeviceRule> rules;
    for (int i = below(6); i > 0; i--)
      rules.push_back({below(2) == 1, "abc"[below(3)], below(4) - 1, below(4) - 1,
                       static_cast<uint32_t>(1 + random() % 7)});
    const auto program = covey::DeviceProgram(rules);
    for (const char type : {'b', 'c'}) {
      for (unsigned wanted = 1; wanted < 8; wanted++) {
        for (uint32_t major = 0; major < 4; major++) {
          for (uint32_t minor = 0; minor < 4; minor++) {
            const uint32_t kind = type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
            const uint32_t context[] = {wanted << 16 | kind, major, minor};
            if (RunProgram(program, context) == (Allowed(rules, type, major, minor, wanted) ? 1 : 0))
              continue;
            Same("another answer", "the rules' own", "a device program");
            return;
          }
        }
      }
    }
  }
  // A major above 2^31 must not be taken for a negative number.
  const auto high = covey::DeviceProgram({{false, 'a', -1, -1, 7}, {true, 'c', 4'000'000'000, 1, 7}});
  const uint32_t context[] = {7u << 16 | BPF_DEVCG_DEV_CHAR, 4'000'000'000, 1};
  Same(std::to_string(RunProgram(high, context)), "1", "a large device number");
  Same(Refused([] { return covey::DeviceProgram(std::vector<DeviceRule>(401)).empty() ? "" : "taken"; }),
       "refused linux.resources.devices", "too many rules");
}

void DeviceLists() {
  Same(Lines("[]"), "", "no rules, no limits");
  Same(Lines(R"([{"allow":true}])"), "", "everything is allowed");
  const std::string closed = Lines(R"([{"allow":false}])");
  Same(closed.substr(0, 31), "deny a, allow c *:* m, allow b ", "closed, with what every container has");
  Same(Lines(R"([{"allow":false},{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"}])"),
       "deny a, allow c 10:200 rw" + closed.substr(6), "a permission, before what every container has");
  const std::string no_blocks = Lines(R"([{"allow":false},{"allow":false,"type":"b","access":"m"}])");
  Same(no_blocks.find("allow b") == std::string::npos ? "gone" : no_blocks, "gone", "a default taken back");
  Same(Lines(R"([{"allow":true},{"allow":false,"access":"m"}])"), "deny b *:* m, deny c *:* m",
       "both kinds, for the kernel takes \"a\" for everything");
  Same(Lines(R"([{"allow":true,"type":"c","major":4},{"allow":false,"type":"c","major":4,"access":"w"},
                 {"allow":true,"type":"c","access":"w"}])"),
       "", "a wider permission lifts what was denied");
  Same(
      Lines(
          R"([{"allow":false},{"allow":true,"type":"c","major":1},{"allow":false,"type":"c","major":1,"minor":3}])"),
      "refused linux.resources.devices", "an exception from an exception");
  Same(Lines(R"([{"allow":true,"type":"x"}])"), "refused linux.resources.devices", "a type");
  Same(Lines(R"([{"allow":true,"access":"x"}])"), "refused linux.resources.devices", "an access");
}

void Names() {
  const auto name = [](const char* text) {
    return Refused([&] {
      const auto found = covey::ParseCgroupsPath(text, "/covey", "id");
      return found.path + (found.unit.scope.empty() ? "" : " " + found.unit.slice + " " + found.unit.scope);
    });
  };
  Same(name(""), "/covey/id", "no path");
  Same(name("/a//b/"), "/a/b", "an absolute path");
  Same(name("a/b"), "/covey/a/b", "a relative path");
  Same(name("/"), "refused linux.cgroupsPath", "the root");
  Same(name("/a/../.."), "refused linux.cgroupsPath", "upwards");
  Same(name("user-1000.slice:libpod:x"),
       "/user.slice/user-1000.slice/libpod-x.scope user-1000.slice libpod-x.scope", "a nested slice");
  Same(name(":docker:x"), "/system.slice/docker-x.scope system.slice docker-x.scope", "the usual slice");
  Same(name("-.slice::x"), "/x.scope -.slice x.scope", "the root slice");
  for (const char* bad :
       {"a:b", "a.slice:b", "a.slice:b:c:d", "a.slice:b:", "a--b.slice:c:d", "-a.slice:c:d", "a-.slice:c:d",
        ".slice:c:d", "a.slice:c/..:d", "a/b.slice:c:d", "a.slice:c:d.slice"})
    Same(name(bad), "refused linux.cgroupsPath", bad);
}

void Statistics() {
  Same(std::to_string(
           covey::FlatNumber("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill").value_or(9)),
       "3", "a whole key");
  const auto io = covey::ParseIoStat("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16\nbroken=\n");
  Same(std::to_string(io.size()) + io[0].device + std::to_string(io[0].write_bytes + io[0].reads), "18:05",
       "io.stat");
  const auto blkio =
      covey::ParseBlkio("8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n", "8:0 Read 2\n9:0 Write 1\n");
  Same(std::to_string(blkio.size()) + " " + std::to_string(blkio[0].read_bytes + blkio[0].reads), "2 12",
       "blkio");
  const auto pressure = covey::ParsePressure("some avg10=1.50 avg60=0.25 avg300=0.00 total=77\n");
  Same(pressure && !pressure->full ? std::to_string(pressure->some.total_micros) : "", "77", "pressure");
  Same(covey::ParsePressure("").has_value() ? "some" : "none", "none", "no pressure");
}

}  // namespace

int Failures() {
  Controllers();
  Updates();
  DeviceLists();
  DevicePrograms();
  Names();
  Statistics();
  return failures;
}

}  // namespace units_resources
