#include "devices.h"

#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include "sys.h"

int devices_attach(int cgroup, const struct plan_field* program, struct failure* failure) {
  static const char step[] = "setting device rules";
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = (uint64_t)(uintptr_t)program->at;
  attr.insn_cnt = program->length / sizeof(struct bpf_insn);
  attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
  int loaded = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
  if (loaded < 0) return failed(failure, step, "bpf", "BPF_PROG_LOAD");
  memset(&attr, 0, sizeof attr);
  attr.target_fd = (uint32_t)cgroup;
  attr.attach_bpf_fd = (uint32_t)loaded;
  attr.attach_type = BPF_CGROUP_DEVICE;
  // Beside what the cgroups above have attached, never in its place.
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  int attached = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
  int error = errno;
  close(loaded);
  return attached == 0 ? 0 : failed_as(failure, error, step, "bpf", "BPF_PROG_ATTACH");
}
