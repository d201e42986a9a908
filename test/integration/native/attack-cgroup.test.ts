/** What a hostile container tries against its limits. Each attempt is made for real, by root in the container. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { NativeWorld } from '../../support/native-world.ts';

const { EACCES, EPERM, EROFS, ENOENT } = constants.errno;
const LIMIT = 32 << 20;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

const limits = { memoryBytes: LIMIT, pids: 32 };
const exitOf = async (...args: readonly string[]) => (await world.ran(args, { limits })).exit.code;

/** v1 controllers that this host mounts, by the name that mount(2) takes; all are tried. */
const controllers = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .map((line) => / - cgroup \S+ (\S+)$/.exec(line)?.[1])
  .filter((options) => options !== undefined)
  .map((options) => options.replace(/^(rw|ro),/, ''))
  .filter((options) => !options.startsWith('name='));

describe('through its own view of the cgroups', () => {
  it.each([
    'memory/memory.limit_in_bytes',
    'memory/release_agent',
    'memory/notify_on_release',
    'memory/cgroup.procs',
    'pids/pids.max',
    'devices/devices.allow',
    'freezer/freezer.state',
    'memory.max',
    'cgroup.procs',
    'cgroup.subtree_control',
  ])('a container cannot write %s', async (file) => {
    const code = await exitOf('open', `/sys/fs/cgroup/${file}`);
    expect([EROFS, EACCES, EPERM, ENOENT]).toContain(code);
  });

  it('a container finds no release agent, and sees nothing above itself', async () => {
    for (const controller of controllers) {
      expect(await exitOf('stat', `/sys/fs/cgroup/${controller}/release_agent`), controller).toBe(ENOENT);
    }
    const { output } = await world.ran(['read', '/proc/self/cgroup']);
    const paths = output
      .trim()
      .split('\n')
      .filter((line) => !line.includes(':name=') && !line.startsWith('0::'));
    for (const line of paths) expect(line).toMatch(/:\/$/);
  });
});

describe('by mounting cgroups anew', () => {
  it('a container gets nowhere with the means it has', async () => {
    for (const controller of [...controllers, 'name=systemd', 'rdma', 'unified']) {
      expect([EPERM, EACCES], controller).toContain(await exitOf('cgroup-mount', controller, 'cgroup.procs', '0'));
    }
  });

  it('a container gets nowhere in namespaces of its own (CVE-2022-0492)', async () => {
    for (const [controller, file, value] of [
      ['memory', 'memory.memsw.limit_in_bytes', '-1'],
      ['memory', 'release_agent', '/tmp/x'],
      ['memory', 'cgroup.procs', '0'],
      ['pids', 'pids.max', 'max'],
      ['devices', 'devices.allow', 'a'],
      ['name=systemd', 'release_agent', '/tmp/x'],
      ['rdma', 'release_agent', '/tmp/x'],
      ['unified', 'cgroup.procs', '0'],
    ] as const) {
      expect(await exitOf('cgroup-own', controller, file, value), `${controller} ${file}`).not.toBe(0);
    }
  });

  it('a container’s limits stand after it has tried', async () => {
    const { container } = await world.ran(['cgroup-own', 'memory', 'memory.memsw.limit_in_bytes', '-1'], { limits });
    expect((await world.runtime.stats(container.id)).memory.limitBytes).toBe(LIMIT);
  });
});

describe('devices of the host', () => {
  const { dev } = statSync('/');
  const disk = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)];

  it.each([
    ['its disk', 'b', ...disk],
    ['its memory', 'c', 1, 1],
    ['its ports', 'c', 1, 4],
    ['its kernel log', 'c', 1, 11],
    ['its first console', 'c', 4, 0],
    ['device mapper', 'c', 10, 236],
    ['loop control', 'c', 10, 237],
    ['fuse', 'c', 10, 229],
    ['tun', 'c', 10, 200],
    ['KVM', 'c', 10, 232],
  ])('cannot be opened: %s', async (_, kind, major, minor) => {
    expect(await exitOf('device', kind as string, String(major), String(minor))).toBe(EPERM);
  });

  it('the null device can', async () => {
    expect(await exitOf('stat', '/dev/null')).toBe(0);
    expect(existsSync(native().cgroupFolder('devices', world.cgroupParent) ?? '')).toBe(true);
  });
});
