import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isUnified } from '../../support/native-world.ts';
import { IN_USER_NAMESPACE, MAPPED, OciWorld } from '../../support/oci-world.ts';

const LINUX = { linux: IN_USER_NAMESPACE };
const EACCES = 13;
let world: OciWorld;
beforeAll(() => {
  world = new OciWorld();
});
afterAll(() => world.destroy());

describe.each(['auto', 'mount'] as const)('in a user namespace, with layers mounted by %s', (overlayMode) => {
  const options = { overlayMode };

  it('a container is root inside and nobody outside', async () => {
    const container = await world.started(['sleep'], { ...LINUX, options });
    const { pid } = container.identity;
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toContain(`Uid:\t${MAPPED.hostID}\t`);
    for (const map of ['uid_map', 'gid_map']) {
      expect(readFileSync(`/proc/${pid}/${map}`, 'utf8').trim().split(/\s+/)).toEqual(['0', '1500000000', '65536']);
    }
    expect((await world.exec(container, ['/bin/init', 'report'])).output.toString()).toContain('uid=0\n');
  });

  it("the image's files are its own, and what it writes is stored under its ids", async () => {
    expect((await world.ran(['stat', '/bin/init'], { ...LINUX, options })).output).toContain('uid=0 gid=0');
    const container = await world.started(['open', '/made'], { ...LINUX, options });
    expect(await world.ended(container)).toBe(0);
    expect(statSync(join(container.stateDir, 'upper', 'made'))).toMatchObject({
      uid: MAPPED.hostID,
      gid: MAPPED.hostID,
    });
    expect(statSync(join(world.world.layer, 'bin', 'init')).uid).toBe(0);
  });

  it('sixty layers are mounted, each with its ids', async () => {
    const layers = [world.world.layer];
    for (let i = 0; i < 60; i += 1) {
      const layer = join(world.world.folder, `${overlayMode}-layer-with-a-path-that-is-rather-long-number-${i}`);
      mkdirSync(layer);
      writeFileSync(join(layer, `only-${i}`), String(i));
      chownSync(join(layer, `only-${i}`), i, 7);
      layers.unshift(layer);
    }
    const { output } = await world.ran(['stat', '/only-33'], { ...LINUX, options: { ...options, layers } });
    expect(output).toContain('uid=33 gid=7');
  });
});

describe('in a user namespace', () => {
  it('the kernel is seen as in any container', async () => {
    const facts = (await world.ran(['report'], LINUX)).output;
    expect(facts).toContain('pid=1\n');
    expect(facts).toContain('uid=0\n');
    expect(facts).toContain('hostname=test-host\n');
    expect((await world.ran(['stat', '/dev/null'], LINUX)).output).toMatch(/mode=20666 .* uid=0 gid=0 rdev=1:3/);
    expect((await world.ran(['open', '/dev/null'], LINUX)).code).toBe(0);
    expect((await world.ran(['open', '/dev/ptmx'], LINUX)).code).toBe(0);
    expect((await world.ran(['open', '/dev/shm/x'], LINUX)).code).toBe(0);
    const mounts = (await world.ran(['read', '/proc/self/mountinfo'], LINUX)).output;
    expect(mounts).toMatch(/ \/sys ro,.* - sysfs /);
    expect(mounts).toMatch(/ \/dev\/mqueue .* - mqueue /);
    if (!isUnified()) expect(mounts).toMatch(/ \/sys\/fs\/cgroup\/memory ro,/);
    expect(mounts).toMatch(/ \/sys\/fs\/cgroup ro,/);
    expect((await world.ran(['read', '/proc/sys/net/ipv4/ping_group_range'], LINUX)).output).toBe('0\t65535\n');
  });

  it('a process may open its own /dev/stdout again, whoever it runs as', async () => {
    for (const uid of [0, 1234]) {
      const user = { uid, gid: uid, additionalGids: [] };
      expect((await world.ran(['open', '/dev/stdout'], { ...LINUX, process: { user } })).code, `uid ${uid}`).toBe(0);
      expect((await world.ran(['open', '/dev/stdout'], { process: { user } })).code, `host uid ${uid}`).toBe(0);
    }
  });

  it('a device of the config is made with its owner and works', async () => {
    const devices = [{ path: '/dev/sub/zero', type: 'c', major: 1, minor: 5, fileMode: 0o640, uid: 12, gid: 13 }];
    const { output } = await world.ran(['stat', '/dev/sub/zero'], { linux: { ...IN_USER_NAMESPACE, devices } });
    expect(output).toMatch(/mode=20640 .* uid=12 gid=13 rdev=1:5/);
  });

  it("a bound folder keeps the host's owners, and shows them as its own when the bind is mapped", async () => {
    const shared = join(world.world.folder, 'shared');
    mkdirSync(shared, { mode: 0o755 });
    writeFileSync(join(shared, 'file'), 'x', { mode: 0o644 });
    const bind = { destination: '/shared', type: 'bind', source: shared };
    const plain = { ...LINUX, mounts: [{ ...bind, options: ['rbind', 'rprivate'] }] };
    expect((await world.ran(['stat', '/shared/file'], plain)).output).toContain('uid=65534 gid=65534');
    expect((await world.ran(['open', '/shared/file'], plain)).code).toBe(EACCES);
    const mapped = { ...LINUX, mounts: [{ ...bind, options: ['rbind', 'idmap'] }] };
    expect((await world.ran(['stat', '/shared/file'], mapped)).output).toContain('uid=0 gid=0');
    expect((await world.ran(['open', '/shared/made'], mapped)).code).toBe(0);
    expect(statSync(join(shared, 'made')).uid).toBe(0);
  });

  it('a bind is mapped with what is mounted below it when it says ridmap, and without when it says idmap', async () => {
    const shared = join(world.world.folder, 'tree');
    const other = join(world.world.folder, 'other');
    for (const folder of [shared, join(shared, 'below'), other]) mkdirSync(folder);
    writeFileSync(join(other, 'file'), 'x', { mode: 0o600 });
    execFileSync('mount', ['--bind', other, join(shared, 'below')]);
    try {
      const owner = async (option: string) => {
        const mounts = [{ destination: '/shared', source: shared, options: ['rbind', option] }];
        return (await world.ran(['stat', '/shared/below/file'], { ...LINUX, mounts })).output;
      };
      expect(await owner('ridmap')).toContain('uid=0 gid=0');
      expect(await owner('idmap')).toContain('uid=65534 gid=65534');
    } finally {
      execFileSync('umount', [join(shared, 'below')]);
    }
  });

  it('a bind may have maps of its own', async () => {
    const shared = join(world.world.folder, 'other-maps');
    mkdirSync(shared);
    chownSync(shared, 500, 600);
    const maps = (from: number) => [{ containerID: from, hostID: MAPPED.hostID + 42, size: 1 }];
    const mount = {
      destination: '/shared',
      source: shared,
      options: ['bind'],
      uidMappings: maps(500),
      gidMappings: maps(600),
    };
    expect((await world.ran(['stat', '/shared'], { ...LINUX, mounts: [mount] })).output).toContain('uid=42 gid=42');
  });
});

describe('a user namespace that cannot be', () => {
  const refused = (linux: object, process: object = {}) =>
    world.created(['report'], { linux: { ...IN_USER_NAMESPACE, ...linux }, process });

  it('is refused by name', async () => {
    const two = (b: object) => [MAPPED, { ...MAPPED, ...b }];
    await expect(refused({ uidMappings: [] })).rejects.toMatchObject({ path: 'linux.uidMappings' });
    await expect(refused({ gidMappings: two({ hostID: 7 }) })).rejects.toMatchObject({
      path: 'linux.gidMappings.containerID',
    });
    await expect(refused({ uidMappings: two({ containerID: 70_000 }) })).rejects.toMatchObject({
      path: 'linux.uidMappings.hostID',
    });
    await expect(refused({ uidMappings: [{ ...MAPPED, containerID: 1 }] })).rejects.toMatchObject({
      path: 'linux.uidMappings',
    });
    await expect(refused({}, { user: { uid: 65_536, gid: 0 } })).rejects.toMatchObject({ path: 'process.user.uid' });
    const many = Array.from({ length: 341 }, (_, i) => ({ containerID: i, hostID: 2_000_000 + i * 2, size: 1 }));
    await expect(refused({ uidMappings: many })).rejects.toMatchObject({ message: expect.stringContaining('340') });
  });
});
