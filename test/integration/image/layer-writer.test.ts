import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LayerFolders } from '../../../agent/image/layer-folders.ts';
import { makeLayer, packLayer, writeTree } from '../../../agent/image/layer-writer.ts';
import { type TreeWish, treeEntries } from '../../../agent/image/tree.ts';
import { unpackLayer } from '../../../agent/image/unpack.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { BlobStore } from '../../../common/oci/blob-store.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { LayerReader } from '../../../common/oci/layer.ts';
import { tarOf } from '../../../common/oci/tar-writer.ts';
import { native } from '../../../native/index.ts';
import { describeTree, MAKE_TREE, xattrsOf } from '../../support/trees.ts';

const never = new AbortController().signal;
let dir: string;
let folders: LayerFolders;
let blobs: BlobStore;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-layer-'));
  folders = await LayerFolders.open(join(dir, 'layers'));
  blobs = await BlobStore.open(join(dir, 'images'));
});
afterEach(async () => {
  await folders.synced();
  await native().removeTree(dir);
});

const held: Digest[] = [];
const hold = (diffId: Digest): void => {
  held.push(diffId);
};

async function folder(name: string, script = ''): Promise<string> {
  const path = join(dir, name);
  await mkdir(path);
  execFileSync('bash', ['-ec', script], { cwd: path });
  return path;
}

const entriesOf = (path: string, wish: Partial<TreeWish> & { readonly idBase?: number } = {}) =>
  treeEntries({ layers: [{ path, idBase: wish.idBase ?? 0 }], raw: true, ...wish }, never);

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('a layer made of a folder', () => {
  it('comes out of its blob as it went in: content, modes, owners, links, attributes, times', async () => {
    const tree = await folder('tree', MAKE_TREE);
    const diffId = await makeLayer(folders, entriesOf(tree), hold, never);
    expect(held).toContain(diffId);
    const blob = await packLayer(blobs, { dir: folders.pathOf(diffId), diffId }, never);
    const packed = await bytesOf(blobs.read(blob.digest));
    expect([digestOf(packed), packed.length]).toEqual([blob.digest, blob.size]);
    expect(digestOf(gunzipSync(packed))).toBe(diffId);
    const again = await folder('again');
    const reader = new LayerReader(blobs.read(blob.digest), 'layer L');
    await unpackLayer({ reader, dir: again, diffId, name: 'layer L' }, never);
    const below = (text: string): string => text.slice(text.indexOf('\n'));
    expect(below(describeTree(again))).toBe(below(describeTree(tree)));
    expect(below(describeTree(folders.pathOf(diffId)))).toBe(below(describeTree(tree)));
    expect(xattrsOf(again)).toBe(xattrsOf(tree));
    expect(xattrsOf(again)).toContain('security.capability');
  });

  it('is a tar that GNU tar reads the same', async () => {
    const tree = await folder('tree', MAKE_TREE);
    await writeFile(join(dir, 'layer.tar'), await bytesOf(tarOf(entriesOf(tree))));
    const found = await folder(
      'found',
      `tar -xp --warning=no-timestamp --numeric-owner --xattrs --xattrs-include='*' -f ../layer.tar`,
    );
    const below = (text: string): string => text.slice(text.indexOf('\n'));
    expect(below(describeTree(found))).toBe(below(describeTree(tree)));
    expect(xattrsOf(found)).toBe(xattrsOf(tree));
  });

  it('keeps what hides lower layers, and is the same bytes every time', async () => {
    const tree = await folder(
      'upper',
      `mkdir a b; mknod a/gone c 0 0; printf x > b/new; python3 -c "import os; os.setxattr('b', 'trusted.overlay.opaque', b'y')"; mknod lost c 0 0; touch -d @1000 a b b/new`,
    );
    const first = await makeLayer(folders, entriesOf(tree), hold, never);
    const second = await makeLayer(folders, entriesOf(tree), hold, never);
    expect(second).toBe(first);
    expect((await folders.list()).length).toBe(1);
    const names = execFileSync('tar', ['-t'], { input: await bytesOf(tarOf(entriesOf(tree))), encoding: 'utf8' });
    expect(names.split('\n').filter(Boolean)).toEqual([
      'a/',
      'a/.wh.gone',
      'b/',
      'b/.wh..wh..opq',
      'b/new',
      '.wh.lost',
    ]);
    const made = folders.pathOf(first);
    expect(xattrsOf(made)).toContain('b trusted.overlay.opaque 79\n');
  });

  it('has the ids of the image where a container had its own', async () => {
    const tree = await folder(
      'upper',
      `touch root user host; chown 100000:100000 root; chown 101000:100050 user; chmod 4711 user
       python3 -c "import os; os.setxattr('root', 'security.capability', bytes.fromhex('0100000300200000000000000000000000000000a0860100'))"`,
    );
    const diffId = await makeLayer(folders, entriesOf(tree, { idBase: 100_000 }), hold, never);
    const shown = describeTree(folders.pathOf(diffId));
    expect(shown).toMatch(/^b'.\/user' 0o104711 1000 50 /m);
    expect(shown).toMatch(/^b'.\/root' 0o100644 0 0 /m);
    expect(shown).toMatch(/^b'.\/host' 0o100644 0 0 /m);
    expect(xattrsOf(folders.pathOf(diffId))).toBe(
      'root security.capability 0100000200200000000000000000000000000000\n',
    );
  });

  it('keeps access control lists, for the users and groups that the image means', async () => {
    const aclFor = (user: number, group: number): string =>
      `acl = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *each) for each in [
         (1, 7, 2**32 - 1), (2, 6, ${user}), (4, 5, 2**32 - 1), (8, 4, ${group}), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1)])`;
    const script = (user: number, group: number): string =>
      `mkdir d; touch d/f; python3 - <<END
import os, struct
${aclFor(user, group)}
for path in ('d', 'd/f'): os.setxattr(path, 'system.posix_acl_access', acl)
os.setxattr('d', 'system.posix_acl_default', acl)
END
`;
    const wanted = xattrsOf(await folder('wanted', script(1_000, 50)));
    expect(wanted).toContain('d system.posix_acl_default');
    expect(wanted).toContain('d/f system.posix_acl_access');
    const upper = await folder('upper', script(101_000, 100_050));
    const diffId = await makeLayer(folders, entriesOf(upper, { idBase: 100_000 }), hold, never);
    expect(xattrsOf(folders.pathOf(diffId))).toBe(wanted);
    const blob = await packLayer(blobs, { dir: folders.pathOf(diffId), diffId }, never);
    const again = await folder('again');
    const reader = new LayerReader(blobs.read(blob.digest), 'layer L');
    await unpackLayer({ reader, dir: again, diffId, name: 'layer L' }, never);
    expect(xattrsOf(again)).toBe(wanted);
  });

  it('leaves nothing of one whose making fails', async () => {
    async function* broken() {
      yield* entriesOf(await folder('one', 'echo 1 > f'));
      throw new Error('the source is gone');
    }
    await expect(makeLayer(folders, broken(), hold, never)).rejects.toThrow('the source is gone');
    expect(await readdir(join(dir, 'layers'))).toEqual([]);
  });

  it('is refused as a blob when its folder was changed', async () => {
    const diffId = await makeLayer(folders, entriesOf(await folder('one', 'echo 1 > f')), hold, never);
    await writeFile(join(folders.pathOf(diffId), 'f'), '2');
    await expect(packLayer(blobs, { dir: folders.pathOf(diffId), diffId }, never)).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(await readdir(blobs.incoming)).toEqual([]);
  });
});

describe('a stack of layers', () => {
  it('is read as overlayfs shows it', async () => {
    const low = await folder(
      'low',
      `mkdir -p a/deep b c; echo low > a/f; echo low > b/f; echo low > c/f; echo x > file; ln -s a link; touch -d @1 a b c a/* b/* c/* file`,
    );
    const high = await folder(
      'high',
      `mkdir a b; echo high > a/f; mknod a/deep c 0 0; python3 -c "import os; os.setxattr('b', 'trusted.overlay.opaque', b'y')"; echo n > b/new; mknod c c 0 0; mkdir file; echo in > file/in; touch -d @2 a b a/f b/new file file/in`,
    );
    const merged = await folder('merged');
    const layers = [high, low].map((path) => ({ path, idBase: 0 }));
    execFileSync('mount', ['-t', 'overlay', 'covey-test', '-o', `lowerdir=${high}:${low}`, merged]);
    try {
      const found = await folder('found');
      await writeTree(found, treeEntries({ layers }, never), never);
      const below = (text: string): string => text.slice(text.indexOf('\n'));
      expect(below(describeTree(found))).toBe(below(describeTree(merged)));
    } finally {
      execFileSync('umount', [merged]);
    }
    expect(await native().treeNames(layers, 'link')).toEqual(['f']);
    expect(await native().treeNames(layers, 'c')).toEqual([]);
    expect(await native().treeLookUp(layers, 'link/../../a/f', true)).toMatchObject({
      path: 'a/f',
      entry: { size: 5 },
    });
    expect(await native().treeLookUp(layers, 'link/none/x', true)).toEqual({ path: 'a/none/x', entry: null });
  });

  it('never leads out of its folders', async () => {
    const low = await folder(
      'low',
      `ln -s / top; ln -s ../../../../../../etc up; ln -s ${dir}/victim abs; ln -s loop loop`,
    );
    const layers = [{ path: low, idBase: 0 }];
    await writeFile(join(dir, 'victim'), 'secret');
    expect(await native().treeLookUp(layers, 'top/top/abs', true)).toEqual({
      path: `${dir.slice(1)}/victim`,
      entry: null,
    });
    expect(await native().treeLookUp(layers, 'up/passwd', true)).toEqual({ path: 'etc/passwd', entry: null });
    await expect(native().treeLookUp(layers, 'loop', true)).rejects.toMatchObject({ code: 'ELOOP' });
    await expect(bytesOf(tarOf(entriesOf(low, { path: 'up/passwd' })))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(native().treeLookUp([{ path: join(dir, 'nowhere'), idBase: 0 }], 'a', true)).rejects.toMatchObject({
      code: 'ENOENT',
    });
  });

  it('gives a file that shrinks while it is read the size that it had', async () => {
    const tree = await folder('tree', 'head -c 9000000 /dev/urandom > big; echo small > small');
    const sizes: number[] = [];
    for await (const entry of entriesOf(tree)) {
      if (entry.kind === 'file' && entry.path === 'big') await truncate(join(tree, 'big'), 100);
      if (entry.path === 'big') sizes.push(entry.body?.length ?? 0);
    }
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(9_000_000);
  });
});
