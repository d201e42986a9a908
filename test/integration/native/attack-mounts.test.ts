import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtFile } from '../../../native/index.ts';
import { attacker, stopped } from '../../support/attacker.ts';
import { IN_USER_NAMESPACE, OciWorld } from '../../support/oci-world.ts';

const EPERM = 1;
const ENOENT = 2;
const EACCES = 13;
const EINVAL = 22;
const EROFS = 30;
const ENOSYS = 38;
const RACES = 40;
/** No filter: what is tried here must fail by itself. */
const UNFILTERED = { seccomp: undefined };
const MAPPED = { linux: { ...IN_USER_NAMESPACE, ...UNFILTERED } };
const UNMAPPED = { linux: UNFILTERED };
const KINDS = [
  ['in a user namespace', MAPPED],
  ["with the host's ids", UNMAPPED],
] as const;

let world: OciWorld;
beforeAll(() => {
  world = new OciWorld();
});
afterAll(() => world.destroy());

/** `what=errno` lines as an object. */
async function errnos(args: readonly string[], wanted: object): Promise<Readonly<Record<string, number>>> {
  const { output } = await world.ran(args, wanted);
  return Object.fromEntries(
    output
      .trim()
      .split('\n')
      .map((line) => line.split('='))
      .map(([what = '', errno]) => [what, Number(errno)]),
  );
}

describe.each(KINDS)('%s', (_, kind) => {
  const mark = kind === MAPPED ? 'mapped' : 'unmapped';

  it('a folder of a volume that is swapped for a link while mounts are made leads none of them out', async () => {
    const place = join(world.world.folder, `race-${mark}`);
    const volume = join(place, 'volume');
    const outside = join(place, 'outside');
    for (const folder of [place, volume, outside, join(volume, 'target')]) mkdirSync(folder, { mode: 0o777 });
    for (const folder of [volume, outside, join(volume, 'target')]) chmodSync(folder, 0o777);
    writeFileSync(join(place, 'file'), 'x');
    symlinkSync(outside, join(volume, 'link'));
    const mounts = (race: number) => [
      { destination: '/volume', source: volume, options: ['rbind', 'rprivate'] },
      { destination: `/volume/target/${race}/file`, source: join(place, 'file'), options: ['bind'] },
      { destination: `/volume/target/${race}/tmp`, type: 'tmpfs', source: 'tmpfs', options: [] },
    ];
    expect(await world.ran(['exit', '0'], { ...kind, mounts: mounts(RACES) })).toMatchObject({ code: 0 });
    const swapper = await attacker('swap', join(volume, 'target'), join(volume, 'link'));
    const outcomes = { made: 0, refused: 0 };
    try {
      for (let race = 0; race < RACES; race += 1) {
        const made = await world.ran(['exit', '0'], { ...kind, mounts: mounts(race) }).then(
          () => true,
          () => false,
        );
        outcomes[made ? 'made' : 'refused'] += 1;
        expect(readdirSync(outside), `race ${race}`).toEqual([]);
      }
    } finally {
      await stopped(swapper);
    }
    expect(outcomes.made + outcomes.refused).toBe(RACES);
  });

  it('a device node that an image or a bind brings cannot be opened', async () => {
    const layer = join(world.world.folder, `nodes-${mark}`);
    mkdirSync(layer);
    execFileSync('mknod', ['-m', '666', join(layer, 'memory'), 'c', '1', '1']);
    execFileSync('mknod', ['-m', '666', join(layer, 'disk'), 'b', '254', '0']);
    const options = { layers: [layer, world.world.layer] };
    for (const node of ['memory', 'disk']) {
      expect((await world.ran(['node', `/${node}`], { ...kind, options })).code, node).toBe(EPERM);
      const mounts = [{ destination: '/bound', source: layer, options: ['bind'] }];
      expect((await world.ran(['node', `/bound/${node}`], { ...kind, mounts })).code, node).toBe(EPERM);
    }
  });

  it('an image whose /dev/null is another file masks nothing with it', async () => {
    const layer = join(world.world.folder, `null-${mark}`);
    mkdirSync(join(layer, 'dev'), { recursive: true });
    writeFileSync(join(layer, 'dev', 'null'), 'not masked');
    const proc = { destination: '/proc', type: 'proc', source: 'proc', options: [] };
    const options = { layers: [layer, world.world.layer] };
    const wanted = { ...kind, onlyMounts: [proc], options };
    expect((await world.ran(['read', '/dev/null'], wanted)).output).toBe('not masked\n');
    expect((await world.ran(['read', '/proc/interrupts'], wanted)).output).toBe('');
  });

  it('a sysctl is written to the kernel or not at all, whatever lies over its path', async () => {
    const file = join(world.world.folder, 'decoy');
    writeFileSync(file, '1');
    const key = 'net.ipv4.ip_unprivileged_port_start';
    const over = { destination: `/proc/sys/${key.replaceAll('.', '/')}`, source: file, options: ['bind'] };
    const attempt = world.created(['report'], { ...kind, mounts: [over] });
    await expect(attempt).rejects.toMatchObject({ code: 'EXDEV', step: 'setting a sysctl' });
    expect(readFileSync(file, 'utf8')).toBe('1');
    // A whole /proc laid over the real one does not keep us from it, nor us from refusing what is no /proc.
    const fake = join(world.world.folder, `fake-${mark}`);
    mkdirSync(join(fake, 'sys', 'net', 'ipv4'), { recursive: true });
    chmodSync(fake, 0o755);
    const decoy = join(fake, 'sys', 'net', 'ipv4', 'ip_unprivileged_port_start');
    writeFileSync(decoy, 'decoy', { mode: 0o666 });
    await world.ran(['exit', '0'], { ...kind, mounts: [{ destination: '/proc', source: fake, options: ['bind'] }] });
    expect(readFileSync(decoy, 'utf8')).toBe('decoy');
  });

  it('masks and read-only paths stay in a user namespace made inside', async () => {
    // A mask is no read-only mount: it is in the way as long as it cannot be taken away.
    const tries = { '/proc/interrupts': ['umount'], '/proc/sys': ['umount', 'remount'], '/sys': ['umount', 'remount'] };
    for (const [path, ways] of Object.entries(tries)) {
      const tried = await errnos(['nested', path], kind);
      expect(tried, path).toMatchObject({ unshare: 0, map: 0 });
      for (const way of [...ways, 'proc', 'sysfs']) expect([EPERM, EINVAL], `${path} ${way}`).toContain(tried[way]);
    }
  });

  it('core_pattern and sysrq-trigger cannot be written', async () => {
    const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
    for (const path of ['/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/kernel/modprobe']) {
      if (existsSync(path))
        expect((await world.ran(['open', path], kind)).code, path).toBe(kind === MAPPED ? EACCES : EROFS);
    }
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before);
  });
});

describe('in a user namespace', () => {
  it('even CAP_SYS_ADMIN, which may undo the mounts, changes nothing of the host', async () => {
    const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
    const all = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE', 'CAP_CHOWN', 'CAP_FOWNER', 'CAP_SETUID', 'CAP_SYS_RESOURCE'];
    const capabilities = { bounding: all, effective: all, permitted: all };
    const tried = await errnos(['undo', '/proc/sys', '/proc/sys/kernel/core_pattern'], {
      ...MAPPED,
      process: { capabilities },
    });
    expect(tried).toMatchObject({ umount: 0, write: EACCES });
    expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before);
  });

  it('root can neither widen its maps nor take an id beyond them', async () => {
    const refused = { uid_map: EPERM, gid_map: EPERM, setgroups: EACCES, setns: EINVAL, setuid: EINVAL };
    expect(await errnos(['maps'], MAPPED)).toEqual(refused);
  });

  it('root has no right over files of the host’s root in a bound folder', async () => {
    const folder = join(world.world.folder, 'secrets');
    mkdirSync(folder, { mode: 0o755 });
    writeFileSync(join(folder, 'key'), 'secret', { mode: 0o600 });
    const wanted = { mounts: [{ destination: '/secrets', source: folder, options: ['rbind'] }] };
    const refused = { open: EACCES, chown: EPERM, chmod: EPERM, unlink: EACCES };
    expect(await errnos(['give', '/secrets/key'], { ...MAPPED, ...wanted })).toEqual(refused);
    expect(readFileSync(join(folder, 'key'), 'utf8')).toBe('secret');
  });
});

describe('keys of the host', () => {
  it('are in no session keyring of a container, nor of a command that is run in it', async () => {
    const verb = ['key', 'session', '-'];
    const ours = execFileSync(builtFile('test-init'), verb).toString();
    expect(Number(ours)).toBeGreaterThan(0);
    const container = await world.started(['sleep'], UNMAPPED);
    const seen = [
      (await world.ran(verb, UNMAPPED)).output,
      (await world.exec(container, ['/bin/init', ...verb])).output.toString(),
    ];
    expect(new Set([ours, ...seen]).size).toBe(3);
    for (const ring of seen) expect(Number(ring)).toBeGreaterThan(0);
  });

  it('are not found in a user namespace, nor with the host’s ids under the usual filter', async () => {
    const name = `covey-test-${process.pid}`;
    const holder = await attacker('key', 'hold', name);
    try {
      // The host finds it: the test can fail.
      execFileSync(builtFile('test-init'), ['key', 'find', name]);
      expect((await world.ran(['key', 'find', name], MAPPED)).code).toBe(ENOENT);
      expect([EPERM, ENOSYS]).toContain((await world.ran(['key', 'find', name])).code);
    } finally {
      await stopped(holder);
    }
  });
});
