import { chmodSync, chownSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { IN_USER_NAMESPACE, OciWorld, type WantedConfig } from '../../support/oci-world.ts';

const ENOENT = 2;
const EACCES = 13;
const EROFS = 30;
const ELOOP = 40;
let world: OciWorld;
let folder: string;
beforeAll(() => {
  world = new OciWorld();
  folder = join(world.world.folder, 'bound');
  mkdirSync(join(folder, 'below'), { recursive: true });
  writeFileSync(join(folder, 'file'), 'from the host');
});
afterAll(() => world.destroy());

const bind = (destination: string, options: readonly string[], source = folder) => ({ destination, source, options });
const tmpfs = (destination: string, options: readonly string[]) => ({
  destination,
  type: 'tmpfs',
  source: 'tmpfs',
  options,
});

/** The mount table of a container that is still there. */
async function tableOf(wanted: WantedConfig): Promise<string> {
  const container = await world.started(['sleep'], wanted);
  return readFileSync(`/proc/${container.identity.pid}/mountinfo`, 'utf8');
}

describe.each([
  ["the host's", {}],
  ['a user namespace’s', { linux: IN_USER_NAMESPACE }],
] as const)('with %s ids', (_, kind) => {
  it('a file or folder of the host is bound without a type, with its attributes', async () => {
    const mounts = [bind('/dir', ['bind', 'ro', 'nosuid']), bind('/made/file', ['bind'], join(folder, 'file'))];
    expect((await world.ran(['read', '/made/file'], { ...kind, mounts })).output).toBe('from the host\n');
    const table = await tableOf({ ...kind, mounts });
    expect(table).toMatch(/ \/dir ro,nosuid,/);
    // In a user namespace the owner is asked for first.
    expect((await world.ran(['open', '/dir/file'], { ...kind, mounts })).code).toBe('linux' in kind ? EACCES : EROFS);
  });

  it('attributes with an r before them reach everything below, those without only the top', async () => {
    const inner = bind(join('/dir', 'below'), ['bind']);
    const deep = await tableOf({
      ...kind,
      mounts: [bind('/dir', ['rbind', 'rro', 'rnosuid', 'rnodev', 'rnoexec']), inner],
    });
    expect(deep).toMatch(/ \/dir ro,nosuid,nodev,noexec,/);
    const remounted = (option: string) => {
      const remount = { destination: '/a', options: ['remount', option] };
      return tableOf({ ...kind, mounts: [tmpfs('/a', []), tmpfs('/a/b', []), remount] });
    };
    const all = await remounted('rro');
    expect(all).toMatch(/ \/a ro,/);
    expect(all).toMatch(/ \/a\/b ro,/);
    const top = await remounted('ro');
    expect(top).toMatch(/ \/a ro,/);
    expect(top).toMatch(/ \/a\/b rw,/);
  });

  it('paths of the config are masked or read-only with all below them, and what is not there is no matter', async () => {
    const layer = join(world.world.folder, `paths-${Object.keys(kind).length}`);
    mkdirSync(join(layer, 'data', 'hidden'), { recursive: true });
    writeFileSync(join(layer, 'data', 'hidden', 'file'), 'hidden');
    writeFileSync(join(layer, 'data', 'secret'), 'secret');
    const masked = { maskedPaths: ['/data/hidden', '/data/secret', '/not-there'] };
    const linux = { ...('linux' in kind ? kind.linux : {}), ...masked, readonlyPaths: ['/data', '/not-there/either'] };
    const options = { layers: [layer, world.world.layer] };
    const wanted = { linux, options, mounts: [tmpfs('/data/below', [])] };
    expect((await world.ran(['read', '/data/secret'], wanted)).output).toBe('');
    expect((await world.ran(['stat', '/data/hidden/file'], wanted)).code).toBe(ENOENT);
    for (const path of ['/data/new', '/data/below/new', '/data/hidden/new'])
      expect((await world.ran(['open', path], wanted)).code, path).toBe(EROFS);
    expect((await world.ran(['open', '/new'], wanted)).code).toBe(0);
  });

  it('links in a mount are not followed when it says so', async () => {
    const linked = join(world.world.folder, 'linked');
    mkdirSync(linked, { recursive: true });
    writeFileSync(join(linked, 'file'), 'x');
    try {
      symlinkSync('file', join(linked, 'link'));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    }
    const code = async (options: readonly string[]) =>
      (await world.ran(['stat', '/dir/link'], { ...kind, mounts: [bind('/dir', options, linked)] })).code;
    expect(await code(['bind'])).toBe(0);
    expect(await code(['bind', 'nosymfollow'])).toBe(ELOOP);
  });

  it('a tmpfs begins with what lies at its place when it says tmpcopyup', async () => {
    const layer = join(world.world.folder, `full-${Object.keys(kind).length}`);
    mkdirSync(join(layer, 'data', 'sub'), { recursive: true });
    writeFileSync(join(layer, 'data', 'sub', 'file'), 'copied');
    chownSync(join(layer, 'data', 'sub', 'file'), 12, 34);
    chmodSync(join(layer, 'data', 'sub', 'file'), 0o640);
    symlinkSync('sub/file', join(layer, 'data', 'link'));
    chmodSync(join(layer, 'data'), 0o751);
    const wanted = {
      ...kind,
      mounts: [tmpfs('/data', ['tmpcopyup'])],
      options: { layers: [layer, world.world.layer] },
    };
    expect((await world.ran(['read', '/data/link'], wanted)).output).toBe('copied\n');
    expect((await world.ran(['stat', '/data/sub/file'], wanted)).output).toMatch(/mode=100640 size=6 uid=12 gid=34/);
    expect((await world.ran(['stat', '/data'], wanted)).output).toMatch(/mode=40751 .* uid=0/);
    expect(await tableOf(wanted)).toMatch(/ \/data .* - tmpfs /);
    const empty = { ...kind, mounts: [tmpfs('/not-there', ['tmpcopyup'])] };
    expect((await world.ran(['stat', '/not-there'], empty)).code).toBe(0);
  });

  it('the root is read-only, with another propagation, as the config says', async () => {
    const readonly = { ...kind, top: { root: { path: 'rootfs', readonly: true } } };
    expect((await world.ran(['open', '/new'], readonly)).code).toBe(EROFS);
    const linux = { ...('linux' in kind ? kind.linux : {}), rootfsPropagation: 'shared' };
    expect(await tableOf({ linux })).toMatch(/ \/ \/ rw,\S* shared:\d+ - overlay /);
    expect(await tableOf({ linux: { ...linux, rootfsPropagation: 'runbindable' } })).toMatch(
      / \/ \/ rw,\S* unbindable - overlay /,
    );
    expect(await tableOf(kind)).toMatch(/ \/ \/ rw,\S* - overlay /);
  });

  it('a bind is private to the container, or follows the host, or both ways, as it says', async () => {
    const table = await tableOf({
      ...kind,
      mounts: ['private', 'rshared', 'rslave', 'unbindable'].map((p) => bind(`/${p}`, ['rbind', p])),
    });
    expect(table).toMatch(/ \/private rw,\S* (master:\d+ )?- /);
    expect(table).toMatch(/ \/rshared rw,\S* shared:\d+/);
    expect(table).not.toMatch(/ \/rslave rw,\S* shared/);
    expect(table).toMatch(/ \/unbindable rw,\S* unbindable/);
  });

  it('takes as many layers as the kernel does', async () => {
    const layers = [world.world.layer];
    for (let i = 1; i < 500; i += 1) {
      const layer = join(world.world.folder, 'many', String(i));
      mkdirSync(layer, { recursive: true });
      writeFileSync(join(layer, 'which'), String(i));
      layers.unshift(layer);
    }
    for (const overlayMode of ['auto', 'mount'] as const) {
      const { output } = await world.ran(['read', '/which'], { ...kind, options: { layers, overlayMode } });
      expect(output, overlayMode).toBe('499\n');
    }
    const attempt = world.created(['report'], { ...kind, options: { layers: [...layers, '/x'] } });
    await expect(attempt).rejects.toMatchObject({ path: 'layers' });
  });
});

describe('the root of layers', () => {
  it.each(['auto', 'mount'] as const)('is written to the disk at leisure, by choice; mounted by %s', async (mode) => {
    const rootOf = async (isVolatile: boolean) =>
      / \/ \/ .* - overlay (.*)/.exec(await tableOf({ options: { overlayMode: mode, volatile: isVolatile } }))?.[1];
    expect(await rootOf(true)).toMatch(/[,=]volatile\b/);
    expect(await rootOf(false)).not.toMatch(/volatile/);
  });

  it('follows no redirection and no metadata of an image', async () => {
    const table = await tableOf({});
    // The kernel tells options that are not its own default.
    expect(table).not.toMatch(/metacopy=on|redirect_dir=(on|follow)/);
  });
});

describe('a mount that cannot be', () => {
  it.each([
    ['an option no bind has', bind('/dir', ['bind', 'size=1'], '/tmp'), 'size=1'],
    ['mapped ids without a user namespace', bind('/dir', ['bind', 'idmap'], '/tmp'), 'idmap'],
    ['mapped ids of what is no bind', tmpfs('/dir', ['idmap']), 'bind'],
    ['tmpcopyup of a bind', bind('/dir', ['bind', 'tmpcopyup'], '/tmp'), 'tmpcopyup'],
    ['no type and no bind', { destination: '/dir', source: 'x' }, 'missing'],
  ])('is refused: %s', async (_, mount, reason) => {
    const attempt = world.created(['report'], { mounts: [mount] });
    await expect(attempt).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining(reason) });
  });

  it('is refused: a propagation of the root that there is none of', async () => {
    const attempt = world.created(['report'], { linux: { rootfsPropagation: 'sideways' } });
    await expect(attempt).rejects.toMatchObject({ path: 'linux.rootfsPropagation' });
  });
});
