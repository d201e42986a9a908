// Which device nodes a container may make and use: linux.resources.devices as v1's list or as a v2 program.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace covey {

/** One rule. Rules apply in order: for each of read, write and mknod the last rule that fits the device decides. */
struct DeviceRule {
  static constexpr unsigned kMknod = 1, kRead = 2, kWrite = 4, kAll = 7;  // BPF_DEVCG_ACC_*

  bool allow = false;
  /** 'a' fits both kinds, 'b' and 'c' one. */
  char type = 'a';
  /** -1 = any. */
  int64_t major = -1;
  int64_t minor = -1;
  unsigned access = kAll;

  /** As v1 writes it, such as "c 1:3 rwm". */
  std::string Text() const;
};

/** One instruction as the kernel takes it. Source: struct bpf_insn in linux/bpf.h. */
struct BpfInstruction {
  uint8_t code;
  uint8_t registers;  // destination in the low half, source in the high one
  int16_t offset;
  int32_t number;
};

/**
 * The rules of linux.resources.devices. Where everything is denied, what every container has (null, zero, full,
 * random, urandom, terminals, and making any node) follows at once, so that later rules may take it away again.
 * Nothing at all when nothing is said. Throws InvalidInput naming linux.resources.devices.
 */
std::vector<DeviceRule> DeviceRulesOf(const nlohmann::json& resources);

/** A line for a v1 cgroup: the file's end (`allow` or `deny`) and its text. */
struct DeviceLine {
  std::string file;
  std::string text;
};

/**
 * The rules as v1 holds them: all or nothing, and exceptions. An exception from an exception cannot be said there
 * (all of c 1:* but 1:3) and is refused with InvalidInput rather than left open. Source: security/device_cgroup.c.
 */
std::vector<DeviceLine> DeviceLines(const std::vector<DeviceRule>& rules);

/** The rules as a BPF_PROG_TYPE_CGROUP_DEVICE program. Throws InvalidInput for more rules than 400. */
std::vector<BpfInstruction> DeviceProgram(const std::vector<DeviceRule>& rules);

}  // namespace covey
