import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DEFAULT_CAPABILITIES } from '../../../../agent/runtime/capabilities.ts';
import { ownCapabilities } from '../../../../agent/runtime/host-facts.ts';
import { resolveSeccomp } from '../../../../agent/runtime/seccomp.ts';
import { CAPABILITIES } from '../../../../common/model/process-rules.ts';
import { parseSeccompProfile, type SeccompProfile } from '../../../../common/model/seccomp-profile.ts';
import { packageFile } from '../../../../native/index.ts';

const X64 = { kernel: '6.1.0-18-amd64', arch: 'x64' };

function parsed(profile: unknown): SeccompProfile {
  const read = parseSeccompProfile(typeof profile === 'string' ? profile : JSON.stringify(profile));
  if ('flaw' in read) throw new Error(read.flaw);
  return read.profile;
}

function flawOf(profile: unknown): string {
  const read = parseSeccompProfile(typeof profile === 'string' ? profile : JSON.stringify(profile));
  return 'flaw' in read ? read.flaw : '';
}

const ALLOW = 'SCMP_ACT_ALLOW';
const rule = (more: object) => ({
  defaultAction: ALLOW,
  syscalls: [{ names: ['a'], action: 'SCMP_ACT_KILL', ...more }],
});

/** True when the one rule of the profile holds. */
function holds(conditions: object, host = X64, capabilities: readonly string[] = []): boolean {
  return resolveSeccomp(parsed(rule(conditions)), host, capabilities).syscalls.length === 1;
}

describe('conditions of a profile', () => {
  it('include a rule when every capability is there', () => {
    const includes = { caps: ['CAP_BPF', 'CAP_KILL'] };
    expect(holds({ includes }, X64, ['CAP_KILL', 'CAP_BPF'])).toBe(true);
    expect(holds({ includes }, X64, ['CAP_KILL'])).toBe(false);
  });

  it('exclude a rule when one capability is there', () => {
    const excludes = { caps: ['CAP_BPF', 'CAP_KILL'] };
    expect(holds({ excludes }, X64, ['CAP_KILL'])).toBe(false);
    expect(holds({ excludes })).toBe(true);
  });

  it('compare kernels by number, not by text', () => {
    const includes = { minKernel: '4.8' };
    for (const kernel of ['4.8.0', '4.19.1-x', '5.0', '10.1'])
      expect(holds({ includes }, { ...X64, kernel })).toBe(true);
    for (const kernel of ['4.7.9', '3.10.0']) expect(holds({ includes }, { ...X64, kernel })).toBe(false);
    expect(holds({ excludes: includes }, { ...X64, kernel: '4.7' })).toBe(true);
  });

  it('are asked once for the same host and capabilities, and again for others', () => {
    const profile = parsed(rule({ includes: { caps: ['CAP_KILL'] } }));
    const without = resolveSeccomp(profile, X64, []);
    expect(resolveSeccomp(profile, X64, [])).toBe(without);
    expect(resolveSeccomp(profile, X64, ['CAP_KILL']).syscalls).toHaveLength(1);
    for (let set = 0; set < 100; set += 1) resolveSeccomp(profile, X64, [`CAP_${set}`]);
    expect(resolveSeccomp(profile, X64, [])).toEqual(without);
  });

  it('know the architecture by Docker’s name', () => {
    const includes = { arches: ['amd64', 'x32'] };
    expect(holds({ includes })).toBe(true);
    expect(holds({ includes }, { ...X64, arch: 'arm64' })).toBe(false);
    expect(holds({ excludes: includes })).toBe(false);
  });

  it('are gone from what the core gets, with the architectures of this machine', () => {
    const archMap = [
      { architecture: 'SCMP_ARCH_AARCH64', subArchitectures: ['SCMP_ARCH_ARM'] },
      { architecture: 'SCMP_ARCH_X86_64', subArchitectures: null },
    ];
    const resolved = resolveSeccomp(parsed({ ...rule({ errnoRet: 5, comment: 'x' }), archMap }), X64, []);
    expect(resolved).toEqual({
      defaultAction: ALLOW,
      architectures: ['SCMP_ARCH_X86_64'],
      syscalls: [{ names: ['a'], action: 'SCMP_ACT_KILL', errnoRet: 5 }],
    });
  });
});

describe('a profile that cannot be', () => {
  it.each([
    ['{', 'is not JSON'],
    [[], 'as no object'],
    [{ defaultAction: 'SCMP_ACT_FLY' }, 'SCMP_ACT_FLY'],
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, 'no listener'],
    [{ defaultAction: ALLOW, listenerPath: '/x' }, 'listenerPath'],
    [{ defaultAction: ALLOW, flags: ['SECCOMP_FILTER_FLAG_NEW_LISTENER'] }, 'flag'],
    [{ defaultAction: ALLOW, sycalls: [] }, 'unknown field "sycalls"'],
    [{ defaultAction: ALLOW, architectures: ['A'], archMap: [{ architecture: 'A' }] }, 'both'],
    [rule({ names: [] }), 'without names'],
    [rule({ names: [3] }), 'no text'],
    [rule({ errnoRet: 4096 }), 'errnoRet'],
    [rule({ args: [{ index: 6, value: 0, op: 'SCMP_CMP_EQ' }] }), 'index'],
    [rule({ args: [{ index: 0, value: -1, op: 'SCMP_CMP_EQ' }] }), 'value'],
    [rule({ args: [{ index: 0, value: 2 ** 60, op: 'SCMP_CMP_EQ' }] }), 'value'],
    [rule({ args: [{ index: 0, value: 1, op: 'EQ' }] }), 'operator'],
    [rule({ includes: { minKernel: 'new' } }), 'minKernel'],
    [rule({ includes: { capabilities: [] } }), 'capabilities'],
    [{ defaultAction: ALLOW, syscalls: Array(1_001).fill({}) }, 'more than 1000'],
  ])('is refused with the reason: %j', (profile, reason) => {
    expect(flawOf(profile)).toContain(reason);
  });
});

describe('the default profile', () => {
  const profile = parsed(readFileSync(packageFile('native/seccomp/default.json'), 'utf8'));
  const allowed = (capabilities: readonly string[], host = X64) =>
    new Set(
      resolveSeccomp(profile, host, capabilities)
        .syscalls.filter(({ action, args }) => action === ALLOW && args === undefined)
        .flatMap(({ names }) => names),
    );

  it('refuses by default', () => {
    expect([profile.defaultAction, profile.defaultErrnoRet]).toEqual(['SCMP_ACT_ERRNO', 1]);
  });

  it('lets ordinary programs live and forbids what reaches the kernel itself', () => {
    const calls = allowed(DEFAULT_CAPABILITIES);
    for (const name of ['execve', 'openat', 'futex', 'socketpair', 'chroot', 'ptrace', 'arch_prctl'])
      expect(calls, name).toContain(name);
    const closed =
      'mount umount2 unshare setns clone clone3 bpf perf_event_open keyctl add_key request_key kexec_load ' +
      'kexec_file_load init_module finit_module delete_module reboot open_by_handle_at userfaultfd io_uring_setup ' +
      'iopl ioperm swapon swapoff acct settimeofday clock_settime quotactl nfsservctl syslog pivot_root socket ioctl ' +
      'personality fsopen fsmount move_mount open_tree mount_setattr kcmp process_madvise lookup_dcookie vhangup ' +
      'mbind migrate_pages move_pages socketcall';
    for (const name of closed.split(' ')) expect(calls, name).not.toContain(name);
  });

  it('opens with each capability what it is for', () => {
    const pairs: readonly (readonly [string, string])[] = [
      ['CAP_SYS_ADMIN', 'mount'],
      ['CAP_SYS_ADMIN', 'clone3'],
      ['CAP_SYS_BOOT', 'reboot'],
      ['CAP_SYS_MODULE', 'finit_module'],
      ['CAP_SYS_PTRACE', 'kcmp'],
      ['CAP_SYS_TIME', 'clock_settime'],
      ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
      ['CAP_SYSLOG', 'syslog'],
      ['CAP_BPF', 'bpf'],
      ['CAP_PERFMON', 'perf_event_open'],
    ];
    for (const [capability, call] of pairs) expect(allowed([capability]), call).toContain(call);
    expect(allowed([])).not.toContain('chroot');
    for (const call of ['kexec_load', 'keyctl', 'userfaultfd']) expect(allowed(CAPABILITIES), call).not.toContain(call);
  });

  it('names no call twice with different answers', () => {
    const { syscalls } = resolveSeccomp(profile, X64, DEFAULT_CAPABILITIES);
    const plain = syscalls.filter(({ args }) => args === undefined).flatMap(({ names }) => names);
    expect(new Set(plain).size).toBe(plain.length);
  });
});

it('reads its own capabilities as the kernel prints them', () => {
  expect(ownCapabilities('Name:\tx\nCapInh:\t0\nCapPrm:\t0000000000200001\n')).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN']);
});
