import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createSpec, updatedSpec } from '../../../cli/flags/service-edits.ts';
import { inspectProcess } from '../../../cli/format/inspect-process.ts';
import { DEFAULT_PROCESS_RULES, type ProcessRules } from '../../../common/model/process-rules.ts';
import { normalSpec, specFlaw } from '../../../common/model/service-rules.ts';

const dir = mkdtempSync(join(tmpdir(), 'covey-cli-'));
afterAll(() => rmSync(dir, { recursive: true }));

type Given = Readonly<Record<string, unknown>>;
const created = (given: Given): ProcessRules | undefined =>
  createSpec('web:1', [], given, {}).template.container.process;
/** After `create` with the first flags, the rules after `update` with the second. */
const updated = (before: Given, given: Given): ProcessRules | undefined =>
  updatedSpec(createSpec('web:1', [], { name: 'a', ...before }, {}), given, {}).template.container.process;
const flaw = (given: Given) => specFlaw(createSpec('web:1', [], { name: 'a', ...given }, {}));

describe('flags of processes', () => {
  it('say nothing when none is given', () => {
    expect(created({})).toBeUndefined();
  });

  it('become rules, in one spelling and order', () => {
    expect(
      created({
        capAdd: ['net_admin', 'CAP_BPF', 'NET_ADMIN'],
        capDrop: ['kill'],
        ulimit: ['nproc=5', 'nofile=10:-1'],
        sysctl: ['net.core.somaxconn=9'],
        group: ['7', 'audio'],
        init: true,
        oomScoreAdj: '-5',
        shmSize: '1m',
        securityOpt: ['no-new-privileges=false', 'seccomp:unconfined', 'apparmor=mine', 'selinux=a:b:c'],
      }),
    ).toEqual({
      capAdd: ['CAP_BPF', 'CAP_NET_ADMIN'],
      capDrop: ['CAP_KILL'],
      ulimits: [
        { name: 'nofile', soft: 10, hard: -1 },
        { name: 'nproc', soft: 5, hard: 5 },
      ],
      sysctls: { 'net.core.somaxconn': '9' },
      groups: ['7', 'audio'],
      init: true,
      oomScoreAdj: -5,
      shmBytes: 1 << 20,
      noNewPrivileges: false,
      privileged: false,
      seccomp: { kind: 'unconfined' },
      appArmorProfile: 'mine',
      seLinuxLabel: 'a:b:c',
    });
  });

  it('read a profile from its file', () => {
    const path = join(dir, 'profile.json');
    writeFileSync(path, '{"defaultAction":"SCMP_ACT_ALLOW"}');
    expect(created({ securityOpt: [`seccomp=${path}`] })?.seccomp).toEqual({
      kind: 'profile',
      json: '{"defaultAction":"SCMP_ACT_ALLOW"}',
    });
    expect(() => created({ securityOpt: ['seccomp=/none/there'] })).toThrow('/none/there');
  });

  it.each([
    [{ ulimit: ['nofile'] }, '--ulimit'],
    [{ ulimit: ['nofile=many'] }, '--ulimit'],
    [{ oomScoreAdj: '1001' }, '--oom-score-adj'],
    [{ oomScoreAdj: 'low' }, '--oom-score-adj'],
    [{ shmSize: 'big' }, '--shm-size'],
    [{ securityOpt: ['systempaths=unconfined'] }, '--security-opt'],
    [{ securityOpt: ['no-new-privileges=maybe'] }, '--security-opt'],
    [{ init: 'perhaps' }, '--init'],
  ])('refuse %j by the name of the flag', (given, field) => {
    expect(() => created(given)).toThrow(expect.objectContaining({ code: 'invalid', field }));
  });
});

describe('an update', () => {
  it('leaves what it does not name', () => {
    expect(updated({ init: true }, { replicas: '2' })?.init).toBe(true);
    expect(updated({ init: true }, { init: 'false' })?.init).toBe(false);
  });

  it('adds and takes away', () => {
    const before = { ulimit: ['nofile=1', 'nproc=2'], sysctl: ['net.a=1', 'net.b=2'], group: ['a', 'b'] };
    const given = {
      ulimitRm: ['nofile'],
      ulimitAdd: ['nproc=3'],
      sysctlRm: ['net.a'],
      sysctlAdd: ['net.c=3'],
      groupRm: ['a'],
    };
    expect(updated(before, given)).toMatchObject({
      ulimits: [{ name: 'nproc', soft: 3, hard: 3 }],
      sysctls: { 'net.b': '2', 'net.c': '3' },
      groups: ['b'],
    });
  });

  it('turns an added capability into a dropped one, and back', () => {
    expect(updated({ capAdd: ['BPF'] }, { capDrop: ['bpf'] })).toMatchObject({ capAdd: [], capDrop: ['CAP_BPF'] });
    expect(updated({ capDrop: ['KILL'] }, { capAdd: ['kill'] })).toMatchObject({ capAdd: ['CAP_KILL'], capDrop: [] });
  });

  it('that says the default again makes no task dirty', () => {
    const spec = createSpec('web:1', [], { name: 'a' }, {});
    expect(normalSpec(updatedSpec(spec, { init: 'false' }, {}))).toEqual(normalSpec(spec));
  });
});

describe('at the door', () => {
  it.each<[Given, string, string]>([
    [{ capAdd: ['FLY'] }, 'capAdd', 'CAP_FLY'],
    [{ capDrop: ['a b'] }, 'capDrop', 'CAP_A B'],
    [{ ulimit: ['speed=1'] }, 'ulimits', 'speed'],
    [{ ulimit: ['nofile=2:1'] }, 'ulimits[nofile]', 'above'],
    [{ ulimit: ['nofile=-1:1'] }, 'ulimits[nofile]', 'above'],
    [{ ulimit: ['nofile=1', 'nofile=2'] }, 'ulimits[nofile]', 'twice'],
    [{ sysctl: ['kernel.core_pattern=|/x'] }, 'sysctls', 'kernel.core_pattern'],
    [{ sysctl: ['net..x=1'] }, 'sysctls', 'net..x'],
    [{ sysctl: ['net/../kernel/panic=1'] }, 'sysctls', 'net/../kernel/panic'],
    [{ sysctl: ['net.core.somaxconn'] }, 'sysctls', 'no value'],
    [{ group: ['a b'] }, 'groups', 'a b'],
    [{ group: ['4294967295'] }, 'groups', '4294967295'],
    [{ shmSize: '100' }, 'shmBytes', '100'],
    [{ securityOpt: ['apparmor=a b'] }, 'appArmorProfile', 'a b'],
    [{ privileged: true, capDrop: ['KILL'] }, 'privileged', 'capDrop'],
  ])('%j is refused with field and value', (given, field, what) => {
    expect(flaw(given)).toMatchObject({
      field: `template.container.process.${field}`,
      message: expect.stringContaining(what),
    });
  });

  it('a seccomp profile that cannot be is refused with the reason', () => {
    const path = join(dir, 'broken.json');
    writeFileSync(path, '{"defaultAction":"SCMP_ACT_NOTIFY"}');
    expect(flaw({ securityOpt: [`seccomp=${path}`] })?.message).toContain('no listener');
  });

  it('what can be is taken', () => {
    const given = {
      capAdd: ['ALL'],
      ulimit: ['core=0', 'memlock=-1'],
      sysctl: ['kernel.shm_rmid_forced=1'],
      privileged: true,
    };
    expect(flaw(given)).toBeUndefined();
  });
});

it('is shown by inspect with Docker’s names', () => {
  const rules: ProcessRules = {
    ...DEFAULT_PROCESS_RULES,
    capAdd: ['CAP_BPF'],
    ulimits: [{ name: 'nofile', soft: 1, hard: 2 }],
    seccomp: { kind: 'profile', json: '{"defaultAction":"SCMP_ACT_ALLOW"}' },
  };
  expect(inspectProcess(rules)).toEqual({
    CapabilityAdd: ['CAP_BPF'],
    Ulimits: [{ Name: 'nofile', Hard: 2, Soft: 1 }],
    Privileges: { NoNewPrivileges: true, Seccomp: { Mode: 'custom', Profile: { defaultAction: 'SCMP_ACT_ALLOW' } } },
  });
});
