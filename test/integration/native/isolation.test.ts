import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isUnified, NativeWorld } from '../../support/native-world.ts';

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

const EACCES = 13;
const EROFS = 30;
/** Docker's default set of 14, as the kernel prints it. */
const DOCKER_CAPABILITIES = '00000000a80425fb';

async function read(path: string): Promise<string> {
  return (await world.ran(['read', path])).output;
}

describe('what a container is from inside', () => {
  it('is process 1 in namespaces of its own, under its own hostname', async () => {
    const facts = await world.report();
    expect(facts.get('pid')).toBe('1');
    expect(facts.get('ppid')).toBe('0');
    expect(facts.get('hostname')).toBe('test-host');
    for (const kind of ['pid', 'mnt', 'uts', 'ipc', 'net', 'cgroup']) {
      expect(facts.get(`ns.${kind}`)).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
    }
  });

  it("holds Docker's default capabilities and can gain no others", async () => {
    const facts = await world.report();
    expect(facts.get('CapEff')).toBe(DOCKER_CAPABILITIES);
    expect(facts.get('CapPrm')).toBe(DOCKER_CAPABILITIES);
    expect(facts.get('CapBnd')).toBe(DOCKER_CAPABILITIES);
    expect(facts.get('CapInh')).toBe('0000000000000000');
    expect(facts.get('NoNewPrivs')).toBe('1');
  });

  it('inherits no descriptor but stdin, stdout and stderr', async () => {
    const facts = await world.report();
    const open = [...facts.keys()].filter((key) => key.startsWith('fd.'));
    expect(open).toEqual(['fd.0', 'fd.1', 'fd.2']);
    expect(facts.get('fd.0')).toBe('/dev/null');
  });

  it('runs as the user of the image with its groups and no capabilities', async () => {
    const layer = join(world.folder, 'users');
    mkdirSync(join(layer, 'etc'), { recursive: true });
    writeFileSync(join(layer, 'etc', 'passwd'), 'root:x:0:0::/root:/bin/sh\nweb:x:1234:1235::/srv:/bin/sh\n');
    writeFileSync(join(layer, 'etc', 'group'), 'root:x:0:\nweb:x:1235:\nlogs:x:77:other,web\n');
    const facts = await world.report({ image: { user: 'web', layers: [world.layer, layer], workdir: '/made/for me' } });
    expect(facts.get('uid')).toBe('1234');
    expect(facts.get('gid')).toBe('1235');
    expect(facts.get('Groups')).toBe('77 ');
    expect(facts.get('CapEff')).toBe('0000000000000000');
    expect(facts.get('cwd')).toBe('/made/for me');
  });

  it('refuses a user that the image does not know, by name', async () => {
    const attempt = world.ran(['report'], { image: { user: 'nobody-here' } });
    await expect(attempt).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('nobody-here') });
  });

  it('gets its environment: the defaults, the image, the template, the last one winning', async () => {
    const wanted = { image: { env: ['A=image', 'B=image'] }, template: { env: ['B=template', 'C=x=y'] } };
    const lines = (await world.ran(['env'], wanted)).output.split('\n');
    expect(lines).toEqual(expect.arrayContaining(['A=image', 'B=template', 'C=x=y', 'HOSTNAME=test-host']));
    expect(lines).not.toContain('B=image');
  });
});

describe('the processors of a container', () => {
  it('are all of its cpuset, also when the agent is bound to one', async () => {
    const bound = (list: string): void => {
      execFileSync('/usr/bin/taskset', ['-a', '-c', '-p', list, String(process.pid)], { stdio: 'ignore' });
    };
    const allowed = (pid: number): string =>
      /^Cpus_allowed_list:\t(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
    const all = allowed(process.pid);
    bound(all.replace(/[^0-9].*/, ''));
    try {
      const { pid } = await world.started(['sleep']);
      expect(allowed(pid)).toBe(all);
    } finally {
      bound(all);
    }
  });
});

describe('what a container sees of the system', () => {
  it('finds masked paths empty', async () => {
    for (const path of ['/proc/interrupts', '/proc/timer_list']) {
      expect(readFileSync(path, 'utf8'), path).not.toBe('');
      expect(await read(path), path).toBe('');
    }
  });

  it('cannot write to the kernel through /proc and /sys', async () => {
    for (const path of ['/proc/sys/kernel/hostname', '/proc/sys/vm/swappiness', '/sys/kernel/mm/ksm/run']) {
      // In a user namespace the owner is asked for before the mount; as the host's root only the mount is in the way.
      expect((await world.ran(['open', path])).exit.code, path).toBe(EACCES);
      expect((await world.ran(['open', path], { template: { userns: 'host' } })).exit.code, path).toBe(EROFS);
    }
  });

  it('has the standard devices and no others', async () => {
    expect((await world.ran(['stat', '/dev/null'])).output).toContain('rdev=1:3');
    expect((await world.ran(['stat', '/dev/urandom'])).output).toContain('rdev=1:9');
    expect((await world.ran(['open', '/dev/ptmx'])).exit.code).toBe(0);
    expect((await world.ran(['open', '/dev/shm/x'])).exit.code).toBe(0);
    expect((await world.ran(['stat', '/dev/vda'])).exit.code).toBe(2);
  });

  it('may make a device node but not open it', async () => {
    const EPERM = 1;
    expect((await world.ran(['mknod', '254', '0'])).exit.code).toBe(EPERM);
  });

  it('sees only its own mounts', async () => {
    const mounts = (await read('/proc/self/mountinfo')).trim().split('\n');
    expect(mounts.filter((line) => line.includes(' - ext4 '))).toEqual([]);
    expect(mounts.filter((line) => line.includes(' - overlay '))).toHaveLength(1);
    expect(mounts.some((line) => line.includes(' /proc/sys ro,'))).toBe(true);
  });

  it('sees its limits under /sys/fs/cgroup, read-only', async () => {
    const limits = { memoryBytes: 64 << 20 };
    const file = isUnified() ? '/sys/fs/cgroup/memory.max' : '/sys/fs/cgroup/memory/memory.limit_in_bytes';
    const { output } = await world.ran(['read', file], { limits });
    expect(output).toBe(`${64 << 20}\n`);
    expect((await world.ran(['open', file])).exit.code).toBe(EACCES);
    expect((await world.ran(['open', file], { template: { userns: 'host' } })).exit.code).toBe(EROFS);
    expect(await read('/proc/self/cgroup')).toContain(isUnified() ? '0::/\n' : ':memory:/\n');
  });

  it('lets a web server without privileges bind port 80', async () => {
    expect(await read('/proc/sys/net/ipv4/ip_unprivileged_port_start')).toBe('0\n');
  });

  it('is given files by its host that it cannot change', async () => {
    const files = [{ target: '/etc/hosts', content: '10.0.0.9 db\n' }];
    expect((await world.ran(['read', '/etc/hosts'], { files })).output).toBe('10.0.0.9 db\n');
    expect((await world.ran(['open', '/etc/hosts'], { files })).exit.code).toBe(30);
  });

  it('keeps a mount inside when the image makes its target a link that leads out', async () => {
    const layer = join(world.folder, 'links');
    const victim = join(world.folder, 'victim');
    mkdirSync(layer);
    mkdirSync(victim);
    symlinkSync(victim, join(layer, 'etc'));
    const files = [{ target: '/etc/hosts', content: 'inside\n' }];
    const image = { layers: [world.layer, layer] };
    const attempt = world.ran(['read', '/etc/hosts'], { files, image });
    await expect(attempt).rejects.toMatchObject({ message: expect.stringContaining('/etc/hosts') });
    expect(() => readFileSync(join(victim, 'hosts'))).toThrow();
  });

  it('refuses an image whose /proc is a link', async () => {
    const layer = join(world.folder, 'proc-link');
    mkdirSync(layer);
    symlinkSync('/tmp', join(layer, 'proc'));
    const attempt = world.ran(['report'], { image: { layers: [world.layer, layer] } });
    await expect(attempt).rejects.toMatchObject({ message: expect.stringContaining('/proc') });
  });
});

describe.each(['auto', 'mount'] as const)('the root file system, mounted by %s', (overlayMode) => {
  let other: NativeWorld;
  beforeAll(() => {
    other = new NativeWorld({ overlayMode });
  });
  afterAll(() => other.destroy());

  it('shows the layers, the upper ones first, and writes to none', async () => {
    const layers = [other.layer];
    for (let i = 0; i < 60; i += 1) {
      const layer = join(
        other.folder,
        `a-layer-with-a-path-that-is-rather-long-so-that-sixty-do-not-fit-one-page-${i}`,
      );
      mkdirSync(layer);
      writeFileSync(join(layer, 'which'), String(i));
      writeFileSync(join(layer, `only-${i}`), String(i));
      layers.push(layer);
    }
    expect((await other.ran(['read', '/which'], { image: { layers } })).output).toBe('59\n');
    expect((await other.ran(['read', '/only-3'], { image: { layers } })).output).toBe('3\n');
    expect((await other.ran(['open', '/new'], { image: { layers } })).exit.code).toBe(0);
    expect(() => readFileSync(join(layers.at(-1) ?? '', 'new'))).toThrow();
  });

  it('can be read-only', async () => {
    const template = { readOnly: true };
    expect((await other.ran(['open', '/new'], { template })).exit.code).toBe(30);
    expect((await other.ran(['open', '/dev/shm/new'], { template })).exit.code).toBe(0);
  });
});
