import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasAppArmor, isUnified } from '../../support/native-world.ts';
import { type BundleWish, RuntimeWorld } from '../../support/runtime-world.ts';
import { until } from '../../support/until.ts';

const SLEEPER = ['sleep', '1000'];
const ALL = ['pid', 'ipc', 'uts', 'mount', 'network'] as const;
const HAS_SELINUX = existsSync('/sys/fs/selinux');
const ROOT = ['bin', 'dev', 'etc', 'proc', 'tmp'];
const SOON_MS = 20_000;
const MAPPED = [{ containerID: 0, hostID: 1_500_000_000, size: 65_536 }];

let world: RuntimeWorld;
beforeAll(() => {
  world = new RuntimeWorld();
});
afterAll(() => world.destroy());

const types = (...names: readonly string[]) => names.map((type) => ({ type }));

function refusal(wish: BundleWish): string {
  const { status, err } = world.call('create', '--bundle', world.bundle(SLEEPER, wish), world.name());
  expect(status).toBe(1);
  return err();
}

/** Destinations of the mounts that the process sees, in the kernel's order, and their flags. */
function mountsOf(id: string): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${world.state(id).pid}/mountinfo`, 'utf8')
    .trim()
    .split('\n');
  return new Map(lines.map((line) => line.split(' ')).map((words) => [words[4] ?? '', words.slice(5).join(' ')]));
}

describe('a config', () => {
  it('may hold properties and annotations that nobody knows', () => {
    const { output } = world.ran(['echo', 'ran'], { top: { unknown: 'x', annotations: { 'org.unknown': '' } } });
    expect(output).toBe('ran\n');
  });

  it('is refused by the name of the field that cannot be', () => {
    expect(refusal({ top: { ociVersion: 'invalid' } })).toContain('ociVersion must be 1.x');
    expect(refusal({ top: { root: {} } })).toContain('root.path is missing');
    expect(refusal({ process: { cwd: 'relative' } })).toContain('process.cwd');
    expect(refusal({ process: { rlimits: [{ type: 'RLIMIT_NOSUCH', soft: 1, hard: 1 }] } })).toContain('rlimits');
    expect(refusal({ process: { capabilities: { bounding: ['CAP_NOSUCH'] } } })).toContain('CAP_NOSUCH');
    expect(refusal({ linux: { rootfsPropagation: 'sometimes' } })).toContain('linux.rootfsPropagation');
    expect(refusal({ linux: { netDevices: { lo: { name: 'in' } } } })).toContain('linux.netDevices is not supported');
    const memoryPolicy = { mode: 'MPOL_BIND', nodes: '0' };
    expect(refusal({ linux: { memoryPolicy } })).toContain('linux.memoryPolicy is not supported');
    expect(refusal({ top: { vm: { kernel: { path: '/vmlinuz' } } } })).toContain('vm is not supported');
    const limit = { type: 'RLIMIT_CORE', soft: 0, hard: 0 };
    expect(refusal({ process: { rlimits: [limit, limit] } })).toContain('process.rlimits RLIMIT_CORE is there twice');
  });
});

describe('a namespace', () => {
  it('that is not named is the caller’s', () => {
    const { id } = world.started(SLEEPER, { linux: { namespaces: [] } });
    const { pid } = world.state(id);
    for (const type of ['pid', 'ipc', 'uts', 'mnt', 'net', 'user', 'cgroup'])
      expect(readlinkSync(`/proc/${pid}/ns/${type}`)).toBe(readlinkSync(`/proc/self/ns/${type}`));
    // Then only the root is its own, and it goes with the container.
    expect(readdirSync(`/proc/${pid}/root`).sort()).toEqual(ROOT);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toContain(join(world.root, id, 'root/proc'));
    world.done('delete', '--force', id);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(join(world.root, id));
  });

  it('of mounts is joined by its path, and only the root is changed in it', async () => {
    const holder = spawn('unshare', ['--mount', 'sleep', '1000'], { stdio: 'ignore' });
    const ended = once(holder, 'exit');
    const path = `/proc/${holder.pid}/ns/mnt`;
    await until('it has a namespace', SOON_MS, () => readlinkSync(path) !== readlinkSync('/proc/self/ns/mnt'));
    const namespaces = [...types('pid', 'ipc', 'uts', 'network'), { type: 'mount', path }];
    const { id, bundle } = world.started(SLEEPER, { linux: { namespaces } });
    const { pid } = world.state(id);
    expect(readlinkSync(`/proc/${pid}/ns/mnt`)).toBe(readlinkSync(path));
    expect(readdirSync(`/proc/${pid}/root`).sort()).toEqual(ROOT);
    expect(readdirSync('/proc/self/root')).not.toEqual(ROOT);
    world.done('delete', '--force', id);
    expect(readFileSync(`/proc/${holder.pid}/mountinfo`, 'utf8')).not.toContain(join(world.root, id));
    expect(readdirSync(join(bundle, 'rootfs/bin')).length).toBeGreaterThan(0);
    holder.kill();
    await ended;
  });

  it('of mounts is refused when the root cannot be attached in it', () => {
    const owner = world.started(SLEEPER);
    const path = `/proc/${world.state(owner.id).pid}/ns/mnt`;
    const wish = { linux: { namespaces: [...types('pid'), { type: 'mount', path }] } };
    expect(refusal(wish)).toContain('mounting the root file system: open_tree');
  });

  it('of mounts is needed with one of users', () => {
    const maps = { uidMappings: MAPPED, gidMappings: MAPPED };
    expect(refusal({ linux: { namespaces: types('pid', 'user'), ...maps } })).toContain(
      'mount is needed with a user namespace',
    );
  });
});

describe('mounts', () => {
  it('are listed by the kernel in the order of the config, in a user namespace too', () => {
    const maps = { uidMappings: MAPPED, gidMappings: MAPPED };
    const mounts = [{ destination: '/tmp', source: '/etc', options: ['rbind', 'rshared'] }];
    for (const linux of [{}, { namespaces: types(...ALL, 'user'), ...maps }]) {
      const { id } = world.started(SLEEPER, { linux, mounts });
      expect([...mountsOf(id).keys()].slice(0, 5)).toEqual(['/', '/proc', '/dev', '/dev/pts', '/tmp']);
    }
  });

  it('ignore what the kernel ignores of a bind, and say so', () => {
    const mounts = [{ destination: '/mnt/etc', source: '/etc', options: ['bind', 'ro', 'mode=755', 'size=1k'] }];
    const { id, called } = world.created(SLEEPER, { mounts });
    expect(called.err()).toContain('mounts./mnt/etc.options "size=1k" is without effect');
    world.done('start', id);
    expect(mountsOf(id).get('/mnt/etc')).toMatch(/^ro,/);
  });
});

describe('what this kernel lacks', () => {
  // A kernel that runs one of them applies the label.
  it.skipIf(hasAppArmor() || HAS_SELINUX)('is a warning where it is a security label', () => {
    const process = { apparmorProfile: 'acme', selinuxLabel: 'system_u:x' };
    const { id, called } = world.created(SLEEPER, { process, linux: { namespaces: types(...ALL), mountLabel: 'm' } });
    for (const field of ['process.apparmorProfile "acme"', 'process.selinuxLabel "system_u:x"', 'linux.mountLabel "m"'])
      expect(called.err()).toContain(`${field} is without effect: this kernel runs no`);
    world.done('start', id);
  });

  it('is a warning where it is a limit on kernel memory alone', () => {
    const { called } = world.created(SLEEPER, {
      linux: { resources: { memory: { limit: 1 << 26, kernel: 1 << 26 } } },
    });
    expect(called.err()).toContain('linux.resources.memory.kernel is without effect');
  });
});

describe('device rules', () => {
  // On cgroup v2 the rules are a program: there is no list to read back.
  it.skipIf(isUnified())('are read back in the order of the config, what every container has after them', () => {
    const devices = [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rwm' },
      { allow: true, type: 'b', major: 8, minor: 20, access: 'rw' },
    ];
    const { bundle } = world.created(SLEEPER, { linux: { resources: { devices } } });
    const folder = world.cgroupFolder(bundle, 'devices');
    const listed = readFileSync(join(folder, 'devices.list'), 'utf8').split('\n');
    expect(listed.slice(0, 3)).toEqual(['c 10:229 rwm', 'b 8:20 rw', 'c *:* m']);
  });
});
