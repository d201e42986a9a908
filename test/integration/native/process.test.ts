import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { howItEnded } from '../../../agent/task-machine.ts';
import { DEFAULT_PROCESS_RULES, type ProcessRules } from '../../../common/model/process-rules.ts';
import { forever, hasAppArmor, NativeWorld, outputOf } from '../../support/native-world.ts';
import { patchedAddon } from '../../support/patched-addon.ts';

const { EPERM, EFAULT } = constants.errno;
/** Of x86-64 and, after the bar, of arm64. */
const CALL = process.arch === 'arm64' ? { mkdirat: 34, keyctl: 219 } : { mkdirat: 258, keyctl: 250 };
const ENOSYS = constants.errno.ENOSYS;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

const rules = (more: Partial<ProcessRules>) => ({ template: { process: { ...DEFAULT_PROCESS_RULES, ...more } } });
const profile = (json: object) => rules({ seccomp: { kind: 'profile', json: JSON.stringify(json) } });

/** A world whose containers get what a template cannot say. */
async function inPatched<T>(
  change: Parameters<typeof patchedAddon>[0],
  use: (patched: NativeWorld) => Promise<T>,
): Promise<T> {
  const patched = new NativeWorld({ addon: patchedAddon(change) });
  try {
    return await use(patched);
  } finally {
    await patched.destroy();
  }
}

/** What `init attributes` says. */
async function attributes(from: NativeWorld): Promise<ReadonlyMap<string, string>> {
  const { output } = await from.ran(['attributes']);
  return new Map(output.split('\n').map((line) => line.split('=') as [string, string]));
}

describe('the system call filter', () => {
  it('is there by default, and not when it is told off', async () => {
    expect((await world.report()).get('Seccomp')).toBe('2');
    expect((await world.report(rules({ seccomp: { kind: 'unconfined' } }))).get('Seccomp')).toBe('0');
    expect((await world.report(rules({ privileged: true }))).get('Seccomp')).toBe('0');
  });

  it('answers as its profile says', async () => {
    const deny = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdirat'], action: 'SCMP_ACT_ERRNO' }] };
    expect((await world.ran(['call', `${CALL.mkdirat}`, '0', '0'], profile(deny))).exit.code).toBe(EPERM);
    expect((await world.ran(['call', `${CALL.mkdirat}`, '0', '0'])).exit.code).toBe(EFAULT);
  });

  it('kills where its profile says so', async () => {
    const kill = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' }],
    };
    const { exit } = await world.ran(['call', `${CALL.mkdirat}`], profile(kill));
    expect(exit.signal).toBe(constants.signals.SIGSYS);
  });

  it('holds for a user without privileges that may still gain some', async () => {
    const facts = await world.report({ ...rules({ noNewPrivileges: false }), image: { user: '1000' } });
    expect([facts.get('Seccomp'), facts.get('NoNewPrivs'), facts.get('CapEff'), facts.get('CapPrm')]).toEqual([
      '2',
      '0',
      '0000000000000000',
      '0000000000000000',
    ]);
  });

  it('leaves root without no_new_privs exactly its capabilities', async () => {
    const facts = await world.report(rules({ noNewPrivileges: false }));
    expect([facts.get('Seccomp'), facts.get('CapEff'), facts.get('CapPrm')]).toEqual([
      '2',
      '00000000a80425fb',
      '00000000a80425fb',
    ]);
  });

  it('holds for commands that are run inside later', async () => {
    const container = await world.started(['sleep']);
    const request = { env: [], timeoutMs: 10_000, outputMaxBytes: 4_096 };
    const { output } = await world.runtime.exec(container.id, { args: ['/bin/init', 'report'], ...request }, forever);
    expect(output).toContain('\nSeccomp=2\n');
    const { exitCode } = await world.runtime.exec(
      container.id,
      { args: ['/bin/init', 'call', `${CALL.keyctl}`], ...request },
      forever,
    );
    expect(exitCode).toBe(EPERM);
  });

  it('is refused by name when nothing could be run under it', async () => {
    const attempt = world.ran(['report'], profile({ defaultAction: 'SCMP_ACT_ERRNO' }));
    await expect(attempt).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('execve') });
  });

  it('kills a static program whose profile lacks arch_prctl, and `ps` says why', async () => {
    const names = ['execve', 'write', 'exit_group', 'mmap', 'brk', 'set_tid_address'];
    const bare = { defaultAction: 'SCMP_ACT_KILL_PROCESS', syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }] };
    const { exit } = await world.ran(['report'], profile(bare));
    expect(exit.signal).toBe(constants.signals.SIGSYS);
    expect(howItEnded(exit)).toContain('arch_prctl');
  });

  it('says of calls newer than its profile that they do not exist', async () => {
    expect((await world.ran(['call', '4000'])).exit.code).toBe(ENOSYS);
  });
});

describe('what the kernel keeps of a process', () => {
  it('is as the config says: scheduler, I/O priority, personality, umask', async () => {
    await inPatched(
      ({ process: p, linux }) => {
        p.scheduler = { policy: 'SCHED_BATCH', nice: 5 };
        p.ioPriority = { class: 'IOPRIO_CLASS_IDLE', priority: 7 };
        p.user = { ...(p.user as object), umask: 0o77 };
        linux.personality = { domain: 'LINUX32' };
      },
      async (patched) => {
        const facts = await attributes(patched);
        const IDLE = 3 << 13;
        expect(Object.fromEntries(facts)).toMatchObject({
          policy: '3',
          nice: '5',
          ioprio: String(IDLE | 7),
          personality: '8',
          umask: '77',
        });
      },
    );
  });

  it('gives a command inside the CPUs it is to run on', async () => {
    await inPatched(
      ({ process: p }) => {
        p.execCPUAffinity = { initial: '0', final: '0' };
      },
      async (patched) => {
        const container = await patched.started(['sleep']);
        const request = { args: ['/bin/init', 'attributes'], env: [], timeoutMs: 10_000, outputMaxBytes: 4_096 };
        expect((await patched.runtime.exec(container.id, request, forever)).output).toContain('cpus=1\n');
      },
    );
  });

  it('is refused with the step and the cause where the kernel does', async () => {
    await inPatched(
      ({ process: p }) => {
        p.scheduler = { policy: 'SCHED_DEADLINE', runtime: 2_000_000, deadline: 1_000_000, period: 1_000_000 };
      },
      (patched) =>
        expect(patched.ran(['report'])).rejects.toMatchObject({
          code: 'invalid',
          message: expect.stringContaining('setting the scheduler'),
        }),
    );
  });

  it('holds the five capability sets exactly', async () => {
    const sets = {
      bounding: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN'],
      permitted: ['CAP_CHOWN', 'CAP_KILL'],
      inheritable: ['CAP_CHOWN', 'CAP_KILL'],
      effective: ['CAP_KILL'],
      ambient: ['CAP_KILL'],
    };
    await inPatched(
      ({ process: p }) => {
        p.capabilities = sets;
        p.user = { uid: 1000, gid: 1000 };
      },
      async (patched) => {
        const facts = await patched.report();
        const bits = (name: string): string => facts.get(name)?.slice(-4) ?? '';
        // A program without file capabilities: only the ambient set is left of what its caller held.
        expect(['CapBnd', 'CapInh', 'CapPrm', 'CapEff', 'CapAmb'].map(bits)).toEqual([
          '1021',
          '0021',
          '0020',
          '0020',
          '0020',
        ]);
      },
    );
  });

  it('refuses an unknown capability, and leaves out one that nobody here can give', async () => {
    await inPatched(
      ({ process: p }) => {
        p.capabilities = { bounding: ['CAP_FLY'] };
      },
      (patched) => expect(patched.report()).rejects.toMatchObject({ message: expect.stringContaining('CAP_FLY') }),
    );
    // In a user namespace of its own there is none that cannot be given: it counts in there only.
    const wanted = rules({ capAdd: ['ALL'] });
    const every = await world.report({ ...wanted, template: { ...wanted.template, userns: 'host' } });
    expect(every.get('CapEff')).toBe((await world.report(rules({ privileged: true }))).get('CapEff'));
  });

  it('refuses labels of modules that this kernel does not run, and profiles that nobody has loaded', async () => {
    const selinux = world.report(rules({ seLinuxLabel: 'system_u:system_r:container_t:s0' }));
    await expect(selinux).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('SELinux') });
    const message = expect.stringContaining(hasAppArmor() ? '"covey-none" is not loaded on this host' : 'AppArmor');
    await expect(world.report(rules({ appArmorProfile: 'covey-none' }))).rejects.toMatchObject({ message });
  });

  it('gets limits, sysctls, groups and shared memory from its template', async () => {
    const wanted = rules({
      ulimits: [{ name: 'nofile', soft: 100, hard: 200 }],
      sysctls: { 'net.ipv4.ip_default_ttl': '77', 'kernel.shmmni': '12' },
      groups: ['42'],
      oomScoreAdj: 500,
      shmBytes: 1 << 20,
    });
    const facts = await world.report(wanted);
    expect([facts.get('nofile'), facts.get('Groups')]).toEqual(['100:200', '42 ']);
    const read = async (path: string) => (await world.ran(['read', path], wanted)).output;
    expect(await read('/proc/sys/net/ipv4/ip_default_ttl')).toBe('77\n');
    expect(await read('/proc/sys/kernel/shmmni')).toBe('12\n');
    expect(await read('/proc/self/oom_score_adj')).toBe('500\n');
    expect(await read('/proc/self/mountinfo')).toMatch(/ \/dev\/shm .*size=1024k/);
  });

  it('refuses a limit above the host’s, by name', async () => {
    const ulimits = [{ name: 'nofile', soft: 1_000_000_000, hard: 1_000_000_000 }];
    await expect(world.report(rules({ ulimits }))).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('RLIMIT_NOFILE'),
    });
  });
});

describe('an init', () => {
  const withInit = rules({ init: true });

  it('ends as the command does', async () => {
    expect((await world.ran(['exit', '7'], withInit)).exit.code).toBe(7);
    expect((await world.ran(['signal', '11'], withInit)).exit.code).toBe(128 + 11);
  });

  it('hands signals on, and is not the command', async () => {
    const container = await world.started(['catch'], withInit);
    await world.said(container, 'ready pid=2');
    const { SIGHUP, SIGUSR1, SIGTERM } = constants.signals;
    for (const number of [SIGHUP, SIGUSR1, 34, SIGTERM]) {
      await world.runtime.kill(container.id, number);
      await world.said(container, `got ${number}\n`);
    }
    expect((await world.runtime.wait(container.id, forever)).code).toBe(0);
  });

  it('reaps orphans, which nobody else does', async () => {
    expect((await world.ran(['zombies', '20'], withInit)).output).toBe('zombies=0\n');
  });

  it('runs under the filter and the capabilities of the command, out of its reach', async () => {
    const container = await world.started(['sleep'], withInit);
    await world.said(container, 'ready');
    const request = {
      args: ['/bin/init', 'read', '/proc/1/status'],
      env: [],
      timeoutMs: 10_000,
      outputMaxBytes: 8_192,
    };
    const { output } = await world.runtime.exec(container.id, request, forever);
    expect(output).toMatch(/^Name:\tcovey-init\n/);
    expect(output).toMatch(/\nSeccomp:\t2\n/);
    expect(output).toMatch(/\nCapEff:\t00000000a80425fb\n/);
    const memory = { ...request, args: ['/bin/init', 'open', '/proc/1/mem'] };
    expect((await world.runtime.exec(container.id, memory, forever)).exitCode).toBe(constants.errno.EACCES);
  });

  it('tells of a command that cannot be run as without it', async () => {
    const layerless = world.started(['x'], { ...withInit, image: { entrypoint: ['/tmp'] } });
    await expect(layerless).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('/tmp') });
  });

  it('shows what the command prints and nothing of its own', async () => {
    const { container } = await world.ran(['text', 'hello'], withInit);
    expect(outputOf(container)).toBe('hello\n');
  });
});
