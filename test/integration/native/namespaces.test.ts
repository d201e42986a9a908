import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { until } from '../../support/native-world.ts';
import { IN_USER_NAMESPACE, type OciContainer, OciWorld } from '../../support/oci-world.ts';

const SIGKILL = 9;
const OWN = ['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'] as const;
/** The kernel's names of the types. */
const LINKS = {
  pid: 'pid',
  network: 'net',
  ipc: 'ipc',
  uts: 'uts',
  mount: 'mnt',
  cgroup: 'cgroup',
  time: 'time',
  user: 'user',
};
type Type = keyof typeof LINKS;

let world: OciWorld;
beforeAll(() => {
  world = new OciWorld();
});
afterAll(() => world.destroy());

const types = (...names: readonly Type[]) => names.map((type) => ({ type }));
const without = (name: Type) => types(...OWN.filter((type) => type !== name));
/** Nothing that would need a namespace of the container's own. */
const BARE = { top: { hostname: '' } };

function nsOf(pid: number | 'self', type: Type): string {
  return readlinkSync(`/proc/${pid}/ns/${LINKS[type]}`);
}

function joined(container: OciContainer, ...names: readonly Type[]): object[] {
  return names.map((type) => ({ type, path: `/proc/${container.identity.pid}/ns/${LINKS[type]}` }));
}

describe('a namespace', () => {
  it.each(['network', 'ipc', 'uts', 'pid', 'cgroup'] as const)(
    'is shared with the host when %s is not named',
    async (type) => {
      const container = await world.started(['sleep'], { ...BARE, linux: { namespaces: without(type), sysctl: {} } });
      for (const each of OWN) {
        if (each === type) expect(nsOf(container.identity.pid, each)).toBe(nsOf('self', each));
        else expect(nsOf(container.identity.pid, each)).not.toBe(nsOf('self', each));
      }
    },
  );

  it('of every type but mount is joined by its path', async () => {
    const first = await world.started(['sleep'], { linux: { namespaces: types(...OWN, 'time') } });
    const names = ['network', 'ipc', 'uts', 'pid', 'cgroup', 'time'] as const;
    const namespaces = [{ type: 'mount' }, ...joined(first, ...names)];
    const second = await world.started(['sleep'], { ...BARE, linux: { namespaces, sysctl: {} } });
    for (const type of names) expect(nsOf(second.identity.pid, type), type).toBe(nsOf(first.identity.pid, type));
    expect(nsOf(second.identity.pid, 'mount')).not.toBe(nsOf(first.identity.pid, 'mount'));
    expect((await world.exec(second, ['/bin/init', 'report'])).output.toString()).toContain('hostname=test-host\n');
  });

  it('of mount is joined with the root file system it has', async () => {
    const first = await world.started(['sleep'], { mounts: [tmpfs('/only-here')] });
    await world.exec(first, ['/bin/init', 'open', '/only-here/proof']);
    const linux = { namespaces: [...joined(first, 'mount', 'pid'), ...types('network', 'ipc', 'uts', 'cgroup')] };
    const bare = { sysctl: {}, maskedPaths: [], readonlyPaths: [] };
    const { output } = await world.ran(['stat', '/only-here/proof'], { onlyMounts: [], linux: { ...linux, ...bare } });
    expect(output).toContain('mode=100644');
    const attempt = world.created(['report'], { linux });
    await expect(attempt).rejects.toMatchObject({ path: 'mounts' });
  });

  it('of a user is joined together with what it owns', async () => {
    const first = await world.started(['sleep'], { linux: IN_USER_NAMESPACE });
    const names = ['user', 'network', 'ipc', 'uts', 'pid', 'cgroup'] as const;
    const namespaces = [{ type: 'mount' }, ...joined(first, ...names)];
    const linux = { ...IN_USER_NAMESPACE, namespaces };
    const second = await world.started(['sleep'], { ...BARE, linux });
    for (const type of names) expect(nsOf(second.identity.pid, type), type).toBe(nsOf(first.identity.pid, type));
    expect((await world.exec(second, ['/bin/init', 'report'])).output.toString()).toContain('uid=0\n');
    const others = [{ containerID: 0, hostID: 1_700_000_000, size: 65_536 }];
    const attempt = world.created(['report'], { ...BARE, linux: { ...linux, uidMappings: others } });
    await expect(attempt).rejects.toMatchObject({ message: expect.stringContaining('has other maps') });
  });

  it('of a user may be new while the network and the IPC objects are the host’s', async () => {
    const namespaces = types('pid', 'uts', 'mount', 'cgroup', 'user');
    const container = await world.started(['sleep'], { linux: { ...IN_USER_NAMESPACE, namespaces, sysctl: {} } });
    const mounts = readFileSync(`/proc/${container.identity.pid}/mountinfo`, 'utf8');
    expect(mounts).toMatch(/ \/sys ro,.* - sysfs /);
    expect(mounts).toMatch(/ \/dev\/mqueue .* - mqueue /);
    expect(nsOf(container.identity.pid, 'network')).toBe(nsOf('self', 'network'));
  });

  it('of a user may be new while the network is another container’s', async () => {
    const first = await world.started(['sleep']);
    const namespaces = [...types('pid', 'uts', 'ipc', 'mount', 'cgroup', 'user'), ...joined(first, 'network')];
    const container = await world.started(['sleep'], { linux: { ...IN_USER_NAMESPACE, namespaces, sysctl: {} } });
    expect(nsOf(container.identity.pid, 'network')).toBe(nsOf(first.identity.pid, 'network'));
  });

  it('of time has the clocks moved by its offsets, also for commands run in it', async () => {
    const days = 1_000;
    const linux = {
      namespaces: types(...OWN, 'time'),
      timeOffsets: { boottime: { secs: days * 86_400, nanosecs: 5 }, monotonic: { secs: 60 } },
    };
    const container = await world.started(['sleep'], { linux });
    const { output } = await world.exec(container, ['/bin/init', 'read', '/proc/uptime']);
    expect(Number(output.toString().split(' ')[0])).toBeGreaterThan(days * 86_400);
    expect(nsOf(container.identity.pid, 'time')).not.toBe(nsOf('self', 'time'));
  });
});

describe('a pid namespace that others live in', () => {
  it.each(['another container’s', 'the host’s'] as const)(
    'loses all processes of a container whose first one ends: %s',
    async (whose) => {
      const first = await world.started(['sleep']);
      const shared = whose === 'the host’s' ? [] : joined(first, 'pid');
      const second = await world.started(['tree'], { linux: { namespaces: [...without('pid'), ...shared] } });
      await world.said(second, 'planted');
      expect((await native().cgroupStats(second.cgroup)).pids.count).toBe(2);
      native().signal(second.identity.pid, second.identity.startTime, SIGKILL);
      await world.ended(second);
      await until(() => readFileSync(`${folderOf(second)}/cgroup.procs`, 'utf8') === '', 'its processes are gone');
      expect(native().processAlive(first.identity.pid, first.identity.startTime)).toBe(true);
    },
  );
});

describe('an orphan in the pid namespace of the host', () => {
  const membersOf = (container: OciContainer) =>
    readFileSync(`${folderOf(container)}/cgroup.procs`, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(Number);

  it('becomes its shim’s, which reaps it', async () => {
    const container = await world.started(['tree'], { linux: { namespaces: without('pid') } });
    await world.said(container, 'planted');
    const orphan = membersOf(container).find((pid) => pid !== container.identity.pid) ?? 0;
    const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${orphan}/status`, 'utf8'))?.[1];
    expect(Number(parent)).toBe(container.identity.shimPid);
    process.kill(orphan, SIGKILL);
    await until(() => !existsSync(`/proc/${orphan}`), 'it was reaped');
    expect(native().processAlive(container.identity.pid, container.identity.startTime)).toBe(true);
  });
});

describe('names of a container', () => {
  it.each([{}, IN_USER_NAMESPACE])('are its host and domain name, whosever ids it has', async (linux) => {
    const { output } = await world.ran(['report'], { top: { hostname: 'web', domainname: 'example.test' }, linux });
    expect(output).toContain('hostname=web\ndomainname=example.test\n');
    const sysctl = { 'kernel.domainname': 'set.test' };
    expect((await world.ran(['report'], { linux: { ...linux, sysctl } })).output).toContain('domainname=set.test\n');
  });
});

describe('what a namespace of the host cannot take', () => {
  const refused = (namespaces: object[], more: object = {}, top: object = { hostname: '' }) =>
    world.created(['report'], { top, linux: { namespaces, sysctl: {}, ...more } });

  it('is refused by name', async () => {
    const net = { sysctl: { 'net.ipv4.ip_forward': '1' } };
    await expect(refused(without('network'), net)).rejects.toMatchObject({ path: 'linux.sysctl.net.ipv4.ip_forward' });
    const ipc = { sysctl: { 'kernel.msgmax': '1' } };
    await expect(refused(without('ipc'), ipc)).rejects.toMatchObject({ path: 'linux.sysctl.kernel.msgmax' });
    await expect(refused(without('uts'), {}, { hostname: 'x' })).rejects.toMatchObject({ path: 'hostname' });
    await expect(refused(without('mount'))).rejects.toMatchObject({ path: 'linux.namespaces' });
    await expect(refused([...types(...OWN), { type: 'pid' }])).rejects.toMatchObject({ path: 'linux.namespaces.pid' });
    await expect(refused([...types(...OWN), { type: 'fly' }])).rejects.toMatchObject({ path: 'linux.namespaces.fly' });
    const offsets = { timeOffsets: { boottime: { secs: 1 } } };
    await expect(refused(types(...OWN), offsets)).rejects.toMatchObject({ path: 'linux.timeOffsets' });
    const clock = { timeOffsets: { realtime: { secs: 1 } } };
    await expect(refused(types(...OWN, 'time'), clock)).rejects.toMatchObject({ path: 'linux.timeOffsets.realtime' });
  });

  it('is not joined when it is no namespace of that type, and says which path', async () => {
    const path = '/proc/self/ns/uts';
    const attempt = refused([...without('network'), { type: 'network', path }]);
    await expect(attempt).rejects.toMatchObject({ code: 'EINVAL', step: 'joining a namespace', path });
  });
});

function tmpfs(destination: string): object {
  return { destination, type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] };
}

function folderOf(container: OciContainer): string {
  return native().cgroupFolder('freezer', container.cgroup) ?? '';
}
