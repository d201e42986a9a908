import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NATIVE_MEANS } from '../../../agent/image/means.ts';
import { unpackLayer } from '../../../agent/image/unpack.ts';
import { ClusterError } from '../../../common/errors.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { LAYER_LIMITS, LayerReader } from '../../../common/oci/layer.ts';
import { NODE_MEANS } from '../../../common/oci/layer-means.ts';
import { native } from '../../../native/index.ts';
import { lentStreamOf } from '../../support/lent.ts';
import { streamOf, type TarPart, tarOf } from '../../support/tar.ts';
import { describeTree, MAKE_TREE, xattrsOf } from '../../support/trees.ts';

const never = new AbortController().signal;
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-unpack-'));
});
afterEach(async () => {
  await native().removeTree(dir);
});

/** Hashed at once: nobody but the writer needs a chunk any longer, which is used again for the next. */
const MEANS = { ...NATIVE_MEANS, hash: NODE_MEANS.hash };

async function unpack(tar: Uint8Array): Promise<string> {
  const root = await mkdtemp(join(dir, 'root-'));
  const reader = new LayerReader(lentStreamOf(tar, 10_001), 'layer L', LAYER_LIMITS, MEANS);
  await unpackLayer({ reader, dir: root, diffId: digestOf(tar), name: 'layer L' }, never);
  return root;
}

const unpackParts = (parts: readonly TarPart[]): Promise<string> => unpack(tarOf(parts));

describe('unpacking a layer', () => {
  it.each([['pax'], ['gnu']])(
    'makes what GNU tar makes of a %s archive: content, modes, owners, links, attributes, times',
    async (format) => {
      const tree = join(dir, 'tree');
      const wanted = join(dir, 'wanted');
      await mkdir(tree);
      await mkdir(wanted);
      execFileSync('bash', ['-c', MAKE_TREE], { cwd: tree });
      const options = format === 'pax' ? ['--xattrs', '--xattrs-include=*'] : [];
      execFileSync('tar', [...options, `--format=${format}`, '-cf', join(dir, 'layer.tar'), '-C', tree, '.']);
      execFileSync('tar', [
        '-xp',
        '--warning=no-timestamp',
        '--numeric-owner',
        ...options,
        '-f',
        join(dir, 'layer.tar'),
        '-C',
        wanted,
      ]);
      const found = await unpack(await readFile(join(dir, 'layer.tar')));
      expect(describeTree(found)).toBe(describeTree(wanted));
      expect(xattrsOf(found)).toBe(xattrsOf(wanted));
      if (format === 'pax') expect(xattrsOf(found)).toContain('security.capability');
    },
  );

  it('turns whiteouts into 0/0 devices and opaque markers into the attribute', async () => {
    const root = await unpackParts([
      { path: 'a/', type: '5' },
      { path: 'a/.wh.gone' },
      { path: 'b/', type: '5' },
      { path: 'b/.wh..wh..opq' },
    ]);
    const gone = await lstat(join(root, 'a/gone'));
    expect(gone.isCharacterDevice() && gone.rdev === 0).toBe(true);
    expect(xattrsOf(root)).toContain('b trusted.overlay.opaque 79');
  });

  it('keeps what a whiteout names when the same layer has it, hiding only what is below', async () => {
    const root = await unpackParts([
      { path: 'file', body: 'new' },
      { path: '.wh.file' },
      { path: 'old/', type: '5' },
      { path: '.wh.old' },
      { path: '.wh.later' },
      { path: 'later/', type: '5' },
    ]);
    expect(await readFile(join(root, 'file'), 'utf8')).toBe('new');
    expect(xattrsOf(root)).toContain('old trusted.overlay.opaque');
    expect(xattrsOf(root)).toContain('later trusted.overlay.opaque');
  });

  it('follows an absolute link inside the root only', async () => {
    const root = await unpackParts([
      { path: 'evil', type: '2', link: '/' },
      { path: 'evil/inside', body: 'x' },
      { path: 'up', type: '2', link: `../../../../..${dir}/outside` },
      { path: 'up/escaped', body: 'x' },
    ]);
    expect(await readFile(join(root, 'inside'), 'utf8')).toBe('x');
    expect(await readFile(join(root, dir, 'outside/escaped'), 'utf8')).toBe('x');
    expect(await readdir(dir)).toEqual([root.slice(dir.length + 1)]);
  });

  it('writes no byte through a link that stands where a file comes', async () => {
    await writeFile(join(dir, 'victim'), 'untouched');
    const root = await unpackParts([
      { path: 'f', type: '2', link: join(dir, 'victim') },
      { path: 'f', body: 'evil' },
    ]);
    expect(await readFile(join(dir, 'victim'), 'utf8')).toBe('untouched');
    expect(await readFile(join(root, 'f'), 'utf8')).toBe('evil');
  });

  it('gives the last of several entries for one path, whatever kind they are', async () => {
    const root = await unpackParts([
      { path: 'x/y/z', body: '1' },
      { path: 'x', body: 'a file now' },
      { path: 'd', body: 'a file' },
      { path: 'd/', type: '5', mode: 0o700 },
      { path: 'd/in', body: '2' },
    ]);
    expect(await readFile(join(root, 'x'), 'utf8')).toBe('a file now');
    expect(await readFile(join(root, 'd/in'), 'utf8')).toBe('2');
  });

  it('makes the folders that a layer leaves out, as 0755 root', async () => {
    const root = await unpackParts([{ path: 'a/b/c', body: '1' }]);
    const folder = await lstat(join(root, 'a/b'));
    expect([folder.mode & 0o7777, folder.uid]).toEqual([0o755, 0]);
  });

  it('makes device nodes, none of which is a whiteout', async () => {
    const root = await unpackParts([
      { path: 'sda', type: '4', device: [8, 1], mode: 0o660, gid: 6 },
      { path: 'null', type: '3', device: [1, 3], mode: 0o666, mtime: 5 },
      { path: 'none', type: '3', device: [0, 0] },
      { path: 'was', body: 'a file' },
      { path: 'was', type: '3', device: [0x123, 0xabcde] },
    ]);
    expect(await readdir(root)).toEqual(['null', 'sda', 'was']);
    const [sda, zero, was] = await Promise.all(['sda', 'null', 'was'].map((name) => lstat(join(root, name))));
    expect([sda?.isBlockDevice(), sda?.rdev, (sda?.mode ?? 0) & 0o7777, sda?.gid]).toEqual([true, 0x801, 0o660, 6]);
    expect([zero?.isCharacterDevice(), zero?.rdev, (zero?.mode ?? 0) & 0o7777, zero?.mtimeMs]).toEqual([
      true,
      0x103,
      0o666,
      5_000,
    ]);
    // Source: sysmacros.h, makedev: twelve bits of the major, the minor around them.
    expect(was?.rdev).toBe(0xab_c1_23_de);
  });

  it('leaves attributes out that steer overlayfs or the host', async () => {
    const root = await unpackParts([
      { path: 'f', pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/etc', 'SCHILY.xattr.user.fine': 'x' } },
    ]);
    expect(xattrsOf(root)).toBe('f user.fine 78\n');
  });

  it('removes folders nested deeper than a path can tell', async () => {
    const parts: TarPart[] = [];
    const deep = Array.from({ length: 1_000 }, () => 'd').join('/');
    parts.push({ path: 'p', type: '5', pax: { path: `base/${deep}` } });
    // A link to the deepest folder lets the next ones start there.
    for (let turn = 0; turn < 4; turn += 1) {
      const link = `s${turn}`;
      const from = turn === 0 ? `base/${deep}` : `s${turn - 1}/${deep}`;
      parts.push({ path: link, type: '2', pax: { path: link, linkpath: from } });
      parts.push({ path: 'q', type: '5', pax: { path: `${link}/${deep}` } });
    }
    const root = await unpackParts(parts);
    await native().removeTree(root);
    expect(await readdir(dir)).toEqual([]);
  });

  it('names layer and path of what cannot be unpacked', async () => {
    await expect(
      unpackParts([
        { path: 'f', body: 'x' },
        { path: 'f/in', body: 'y' },
      ]),
    ).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/layer L cannot be unpacked: .*'f/),
    });
  });

  it('fails as exhausted on a full disk', async () => {
    const small = join(dir, 'small');
    await mkdir(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'covey-test', small]);
    try {
      const tar = tarOf([{ path: 'big', body: 'x'.repeat(2_000_000) }]);
      const reader = new LayerReader(streamOf(tar), 'layer L');
      await expect(
        unpackLayer({ reader, dir: small, diffId: digestOf(tar), name: 'layer L' }, never),
      ).rejects.toMatchObject({
        code: 'exhausted',
        message: 'layer L cannot be written: no space left on the disk',
      });
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('never writes outside its root, whatever entries come', async () => {
    await writeFile(join(dir, 'canary'), 'whole');
    const name = fc
      .array(fc.constantFrom('a', 'b', 'c', '.wh.a', '.wh..wh..opq'), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.join('/'));
    const link = fc.oneof(
      name,
      fc.constantFrom('/', '..', '../..', '../../canary', '/proc/self/root', '/proc/self/cwd', `${dir}/canary`, '.'),
    );
    const part = fc.record({
      path: name,
      type: fc.constantFrom('0', '1', '2', '2', '5', '6', '3'),
      link,
      body: fc.constantFrom('', 'x'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
        const before = await readdir(dir);
        try {
          await native().removeTree(
            await unpackParts(parts.map((each) => ({ ...each, body: each.type === '0' ? each.body : '' }))),
          );
        } catch (error) {
          expect(error).toBeInstanceOf(ClusterError);
          for (const each of await readdir(dir))
            if (each.startsWith('root-')) await native().removeTree(join(dir, each));
        }
        expect(await readdir(dir)).toEqual(before);
        expect(await readFile(join(dir, 'canary'), 'utf8')).toBe('whole');
      }),
      { numRuns: 300 },
    );
  });

  it('stops when it is aborted', async () => {
    const abort = new AbortController();
    abort.abort(new Error('no more'));
    const tar = tarOf([{ path: 'a' }]);
    const reader = new LayerReader(createReadStream('/dev/zero') as AsyncIterable<Uint8Array>, 'layer L');
    await expect(unpackLayer({ reader, dir, diffId: digestOf(tar), name: 'layer L' }, abort.signal)).rejects.toThrow(
      'no more',
    );
    await rm(join(dir, 'a'), { force: true });
  });
});
