import { describe, expect, it } from 'vitest';
import { type ConfigRequest, execConfig, mergeEnv, ociConfig } from '../../../../agent/runtime/oci-config.ts';
import { CAPABILITIES, DEFAULT_PROCESS_RULES, type ProcessRules } from '../../../../common/model/process-rules.ts';
import type { SeccompProfile } from '../../../../common/model/seccomp-profile.ts';

const PROFILE: SeccompProfile = {
  defaultAction: 'SCMP_ACT_ERRNO',
  architectures: [],
  archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: [] }],
  flags: [],
  syscalls: [],
};

type Parts = { readonly [Key in 'image' | 'template' | 'limits' | 'user']?: Partial<ConfigRequest[Key]> };

function request(parts: Parts = {}): ConfigRequest {
  return {
    image: {
      layers: ['/l'],
      entrypoint: ['/entry'],
      cmd: ['cmd'],
      env: ['A=1', 'PATH=/bin'],
      workdir: '',
      user: '',
      stopSignal: '',
      ...parts.image,
    },
    template: {
      image: 'web:1',
      env: [],
      labels: {},
      readOnly: false,
      stopGraceMs: 1,
      health: { kind: 'none' },
      startTimeoutMs: 1,
      drainMs: 0,
      ...parts.template,
    },
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0, ...parts.limits },
    hostname: 'given',
    user: { uid: 0, gid: 0, additionalGids: [], home: '/root', ...parts.user },
    cgroup: '/covey/x',
    files: [],
    host: { kernel: '6.1.0', arch: 'x64', capabilities: CAPABILITIES, defaultSeccomp: PROFILE },
  };
}

describe('the command', () => {
  it('is the entrypoint of the image with its cmd', () => {
    expect(ociConfig(request()).process.args).toEqual(['/entry', 'cmd']);
  });

  it('keeps the entrypoint when only the arguments are given', () => {
    expect(ociConfig(request({ template: { args: ['x', 'y'] } })).process.args).toEqual(['/entry', 'x', 'y']);
  });

  it('drops the cmd of the image when the entrypoint is replaced', () => {
    expect(ociConfig(request({ template: { entrypoint: ['/other'] } })).process.args).toEqual(['/other']);
  });

  it('is refused when neither names one', () => {
    expect(() => ociConfig(request({ image: { entrypoint: [], cmd: [] } }))).toThrow('image "web:1" names no command');
  });
});

describe('the environment', () => {
  it('lets the template win over the image and the image over the defaults', () => {
    const env = ociConfig(request({ template: { env: ['A=2'] } })).process.env;
    expect(env).toEqual(['PATH=/bin', 'HOSTNAME=given', 'HOME=/root', 'A=2']);
  });

  it('keeps the last of several entries and all that is after the first equals sign', () => {
    expect(mergeEnv(['A=1', 'B=x=y'], ['A=', 'A=3'])).toEqual(['A=3', 'B=x=y']);
  });

  it('is what a command inside gets, with its own added', () => {
    const { process } = execConfig(ociConfig(request()), ['/check'], ['A=9']);
    expect(process.args).toEqual(['/check']);
    expect(process.env).toContain('A=9');
    expect(process.env).toContain('HOSTNAME=given');
  });
});

describe('limits', () => {
  it('become cgroup resources, and none where none is set', () => {
    expect(ociConfig(request()).linux.resources).toEqual({ devices: [{ allow: false, access: 'rwm' }] });
    const limits = { nanoCpus: 1.5e9, memoryBytes: 1 << 20, pids: 7 };
    expect(ociConfig(request({ limits })).linux.resources).toMatchObject({
      cpu: { quota: 150_000, period: 100_000 },
      memory: { limit: 1 << 20 },
      pids: { limit: 7 },
    });
  });

  it('never ask for less CPU time than the kernel takes', () => {
    const swap = { memoryBytes: 8, memorySwapBytes: 9, memorySwappiness: 0 };
    expect(ociConfig(request({ limits: swap })).linux.resources.memory).toEqual({ limit: 8, swap: 9, swappiness: 0 });
    expect(ociConfig(request({ limits: { nanoCpus: 1 } })).linux.resources.cpu?.quota).toBe(1_000);
  });
});

it('gives capabilities to root only', () => {
  expect(ociConfig(request()).process.capabilities.effective).toHaveLength(14);
  const { capabilities } = ociConfig(request({ user: { uid: 5 } })).process;
  expect(capabilities.effective).toEqual([]);
  expect(capabilities.bounding).toHaveLength(14);
});

describe('what a template says of its processes', () => {
  const given = (rules: Partial<ProcessRules>, user = 0) =>
    ociConfig(request({ template: { process: { ...DEFAULT_PROCESS_RULES, ...rules } }, user: { uid: user } }));

  it('adds and drops capabilities, a name winning over ALL', () => {
    const bounding = (rules: Partial<ProcessRules>) => given(rules).process.capabilities.bounding;
    expect(bounding({ capAdd: ['CAP_NET_ADMIN'] })).toHaveLength(15);
    expect(bounding({ capDrop: ['CAP_KILL'] })).not.toContain('CAP_KILL');
    expect(bounding({ capDrop: ['ALL'], capAdd: ['CAP_KILL'] })).toEqual(['CAP_KILL']);
    expect(bounding({ capAdd: ['ALL'], capDrop: ['CAP_BPF'] })).toHaveLength(CAPABILITIES.length - 1);
  });

  it('gives another user than root what was added by name, and hands it on', () => {
    const { capabilities } = given({ capAdd: ['CAP_NET_ADMIN'] }, 7).process;
    expect(capabilities.effective).toEqual(['CAP_NET_ADMIN']);
    expect(capabilities.ambient).toEqual(['CAP_NET_ADMIN']);
    expect(capabilities.bounding).toHaveLength(15);
  });

  it('refuses a capability that this host cannot give', () => {
    const host = { ...request().host, capabilities: ['CAP_KILL'] };
    const process = { ...DEFAULT_PROCESS_RULES, capAdd: ['CAP_SYS_RESOURCE'] };
    const { template } = request({ template: { process } });
    expect(() => ociConfig({ ...request(), template, host })).toThrow('CAP_SYS_RESOURCE');
    const inNamespace = { ...request(), template, host, ids: { base: 1_000_000 } };
    expect(ociConfig(inNamespace).process.capabilities.bounding).toContain('CAP_SYS_RESOURCE');
  });

  it('opens everything for a privileged one', () => {
    const { linux, process, mounts } = given({ privileged: true });
    expect(process.capabilities.effective).toEqual(CAPABILITIES);
    expect([linux.seccomp, linux.maskedPaths, linux.readonlyPaths]).toEqual([undefined, [], []]);
    expect(linux.resources.devices).toEqual([{ allow: true, access: 'rwm' }]);
    expect(mounts.find(({ destination }) => destination === '/sys')?.options).not.toContain('ro');
  });

  it('filters system calls unless it is told not to, for commands inside too', () => {
    const config = given({});
    expect(config.linux.seccomp?.architectures).toEqual(['SCMP_ARCH_X86_64']);
    expect(execConfig(config, ['/x'], []).linux.seccomp).toEqual(config.linux.seccomp);
    expect(given({ seccomp: { kind: 'unconfined' } }).linux.seccomp).toBeUndefined();
    const json = '{"defaultAction":"SCMP_ACT_ALLOW"}';
    expect(given({ seccomp: { kind: 'profile', json } }).linux.seccomp?.defaultAction).toBe('SCMP_ACT_ALLOW');
  });

  it('passes limits, sysctls, score and the size of /dev/shm on', () => {
    const config = given({
      ulimits: [{ name: 'nofile', soft: 10, hard: -1 }],
      sysctls: { 'net.core.somaxconn': '9' },
      oomScoreAdj: 300,
      shmBytes: 8192,
      noNewPrivileges: false,
    });
    expect(config.process.rlimits).toEqual([{ type: 'RLIMIT_NOFILE', soft: 10, hard: -1 }]);
    expect(config.linux.sysctl['net.core.somaxconn']).toBe('9');
    expect([config.process.oomScoreAdj, config.process.noNewPrivileges]).toEqual([300, false]);
    expect(config.mounts.find(({ destination }) => destination === '/dev/shm')?.options).toContain('size=8192');
  });
});

it('prefers the hostname and the folder of the template', () => {
  const config = ociConfig(request({ template: { hostname: 'own', workdir: '/w' }, image: { workdir: '/i' } }));
  expect([config.hostname, config.process.cwd]).toEqual(['own', '/w']);
  expect(ociConfig(request({ image: { workdir: '/i' } })).process.cwd).toBe('/i');
});

describe('a user namespace', () => {
  it("maps all ids to the container's range and shows placed files through it", () => {
    const files = [{ source: '/f', target: '/etc/hosts' }];
    const config = ociConfig({ ...request(), files, ids: { base: 100_000 } });
    expect(config.linux.namespaces.at(-1)).toEqual({ type: 'user' });
    expect(config.linux.uidMappings).toEqual([{ containerID: 0, hostID: 100_000, size: 65_536 }]);
    expect(config.linux.gidMappings).toEqual(config.linux.uidMappings);
    expect(config.mounts.at(-1)?.options).toContain('idmap');
    expect(config.linux.sysctl['net.ipv4.ping_group_range']).toBe('0 65535');
  });

  it('is none without a range', () => {
    const config = ociConfig({ ...request(), files: [{ source: '/f', target: '/etc/hosts' }] });
    expect(config.linux.namespaces.map(({ type }) => type)).not.toContain('user');
    expect(config.linux.uidMappings).toBeUndefined();
    expect(config.mounts.at(-1)?.options).not.toContain('idmap');
  });
});
