#include "devices.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>

#include "sys.h"

#define RULES_MAX 64
#define RULE_INSTRUCTIONS_MAX 10

static struct bpf_insn load_field(int reg, int offset) {
  return (struct bpf_insn){
      .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (uint8_t)reg & 15, .src_reg = 1, .off = (int16_t)offset};
}
static struct bpf_insn with_number(int code, int reg, int off, int number) {
  return (struct bpf_insn){
      .code = (uint8_t)code, .dst_reg = (uint8_t)reg & 15, .off = (int16_t)off, .imm = number};
}

/** Appends the code of one rule: it jumps to the next rule when a part does not fit, else returns 1. */
static unsigned add_rule(struct bpf_insn* out, const char* rule) {
  // r2 = type, r3 = access, r4 = major, r5 = minor, as prepared at the top of the program.
  unsigned n = 0, jumps[4], count = 0;
  int access = 0;
  char* end;
  const char* at = rule + 2;
  long major = *at == '*' ? -1 : strtol(at, NULL, 10);
  at = strchr(at, ':');
  if (!at) return 0;
  at++;
  long minor = *at == '*' ? (end = (char*)at + 1, -1) : strtol(at, &end, 10);
  for (; *end; end++) {
    if (*end == 'r') access |= BPF_DEVCG_ACC_READ;
    if (*end == 'w') access |= BPF_DEVCG_ACC_WRITE;
    if (*end == 'm') access |= BPF_DEVCG_ACC_MKNOD;
  }
  if (rule[0] != 'a') {
    int type = rule[0] == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR;
    jumps[count++] = n;
    out[n++] = with_number(BPF_JMP | BPF_JNE | BPF_K, 2, 0, type);
  }
  out[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 3};
  out[n++] = with_number(BPF_ALU64 | BPF_AND | BPF_K, 6, 0, ~access & 7);
  jumps[count++] = n;
  out[n++] = with_number(BPF_JMP | BPF_JNE | BPF_K, 6, 0, 0);
  if (major >= 0) {
    jumps[count++] = n;
    out[n++] = with_number(BPF_JMP | BPF_JNE | BPF_K, 4, 0, (int)major);
  }
  if (minor >= 0) {
    jumps[count++] = n;
    out[n++] = with_number(BPF_JMP | BPF_JNE | BPF_K, 5, 0, (int)minor);
  }
  out[n++] = with_number(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 1);
  out[n++] = with_number(BPF_JMP | BPF_EXIT, 0, 0, 0);
  for (unsigned i = 0; i < count; i++) out[jumps[i]].off = (int16_t)(n - jumps[i] - 1);
  return n;
}

int devices_attach(int cgroup, const struct plan_field* rules, struct failure* failure) {
  static const char step[] = "setting device rules";
  struct bpf_insn code[8 + RULES_MAX * RULE_INSTRUCTIONS_MAX];
  unsigned n = 0, count = 0;
  code[n++] = load_field(2, 0);
  code[n++] = (struct bpf_insn){.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 2};
  code[n++] = with_number(BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0xffff);
  code[n++] = with_number(BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 16);
  code[n++] = load_field(4, 4);
  code[n++] = load_field(5, 8);
  for (const char* rule = plan_each(rules, NULL); rule; rule = plan_each(rules, rule)) {
    if (++count > RULES_MAX) return failed_as(failure, E2BIG, step, "bpf", rule);
    n += add_rule(code + n, rule);
  }
  code[n++] = with_number(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0);
  code[n++] = with_number(BPF_JMP | BPF_EXIT, 0, 0, 0);
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = (uint64_t)(uintptr_t)code;
  attr.insn_cnt = n;
  attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
  int program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
  if (program < 0) return failed(failure, step, "bpf", "BPF_PROG_LOAD");
  memset(&attr, 0, sizeof attr);
  attr.target_fd = (uint32_t)cgroup;
  attr.attach_bpf_fd = (uint32_t)program;
  attr.attach_type = BPF_CGROUP_DEVICE;
  int attached = (int)syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
  int error = errno;
  close(program);
  return attached == 0 ? 0 : failed_as(failure, error, step, "bpf", "BPF_PROG_ATTACH");
}
