import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import type { Digest } from '../../../../common/model/ids.ts';
import { digestOf } from '../../../../common/oci/digest.ts';
import { LAYER_LIMITS, type LayerEntry, type LayerLimits, LayerReader } from '../../../../common/oci/layer.ts';
import { streamOf, type TarPart, tarOf } from '../../../support/tar.ts';

async function read(bytes: Uint8Array, limits: LayerLimits = LAYER_LIMITS, diffId?: Digest): Promise<LayerEntry[]> {
  const reader = new LayerReader(streamOf(bytes), 'layer L', limits);
  const entries: LayerEntry[] = [];
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) entries.push(entry);
  if (diffId !== undefined) await reader.prove(diffId);
  return entries;
}

const refused = (parts: readonly TarPart[], why: string) => expect(read(tarOf(parts))).rejects.toThrow(why);

describe('the door for layers', () => {
  it('cleans paths: a leading slash is the root, dots vanish', async () => {
    const entries = await read(tarOf([{ path: '/etc//./passwd' }, { path: './', type: '5' }]));
    expect(entries.map((entry) => entry.path)).toEqual(['etc/passwd', '']);
  });

  it('tells whiteouts and opaque folders apart from files, and drops what aufs left', async () => {
    const entries = await read(
      tarOf([
        { path: 'a/.wh.b' },
        { path: 'a/.wh..wh..opq' },
        { path: '.wh.c' },
        { path: '.wh..wh.plnk/1' },
        { path: '.wh..wh.aufs' },
      ]),
    );
    expect(entries.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
      'whiteout a/b',
      'opaque a',
      'whiteout c',
      'file .wh..wh.plnk/1',
    ]);
  });

  it('refuses a path that leaves the root', async () => {
    await refused([{ path: '../evil' }], 'layer L is refused: entry "../evil" leaves the root by ".."');
    await refused([{ path: 'a/../../evil' }], 'leaves the root by ".."');
    await refused([{ path: 'ok', pax: { path: '/../evil' } }], 'leaves the root by ".."');
    await refused([{ path: '.wh...' }], 'names nothing');
  });

  it('refuses a hard link to what is not in the layer, absolute or not', async () => {
    await refused(
      [{ path: 'x', type: '1', link: '/etc/shadow' }],
      'hard link "x" points to "/etc/shadow", which is outside this layer',
    );
    await refused([{ path: 'x', type: '1', link: '../../etc/shadow' }], 'leaves the root');
    await refused([{ path: 'x', type: '1', link: 'later' }, { path: 'later' }], 'outside this layer');
  });

  it('lets hard links to earlier files of the layer through, also absolute ones', async () => {
    const entries = await read(tarOf([{ path: 'a' }, { path: 'b', type: '1', link: '/a' }]));
    expect(entries[1]).toMatchObject({ kind: 'hardlink', path: 'b', link: 'a' });
  });

  it('lets devices through, but for the one that overlayfs takes for a whiteout', async () => {
    const tar = tarOf([
      { path: 'dev/sda', type: '4', device: [8, 0] },
      { path: 'dev/same', type: '1', link: 'dev/sda' },
      { path: 'dev/none', type: '3' },
    ]);
    expect(await read(tar)).toMatchObject([
      { kind: 'block', path: 'dev/sda', device: { major: 8, minor: 0 } },
      { kind: 'hardlink', path: 'dev/same', link: 'dev/sda' },
      { kind: 'nothing', path: 'dev/none' },
    ]);
    await refused(
      [
        { path: 'n', type: '3' },
        { path: 'm', type: '1', link: 'n' },
      ],
      'outside this layer',
    );
    await refused([{ path: 'x', type: '3', device: [4_096, 0] }], 'device "x" has the numbers 4096, 0');
  });

  it('refuses more entries or bytes than the limits', async () => {
    const tar = tarOf([
      { path: 'a', body: 'xx' },
      { path: 'b', body: 'xx' },
    ]);
    await expect(read(tar, { entries: 1, bytes: 100 })).rejects.toThrow('more than 1 entries');
    await expect(read(tar, { entries: 9, bytes: 3 })).rejects.toThrow('more than 3 bytes');
    expect(LAYER_LIMITS.entries).toBe(1_000_000);
  });

  it('refuses names that no Linux file can have', async () => {
    await refused([{ path: 'x', pax: { path: `${'a/'.repeat(2_100)}b` } }], 'has a name of 4201 bytes');
    await refused([{ path: 'x', pax: { path: 'n'.repeat(256) } }], 'more than 255 bytes');
    await refused([{ path: 'x', pax: { path: 'a\0b' } }], 'NUL');
  });

  it('proves the DiffID over the unpacked bytes', async () => {
    const tar = tarOf([{ path: 'a' }]);
    await read(gzipSync(tar), LAYER_LIMITS, digestOf(tar));
    await expect(read(gzipSync(tar), LAYER_LIMITS, digestOf('other'))).rejects.toThrow('layer L, unpacked, is corrupt');
  });

  it('refuses a cut off gzip and packings it does not know', async () => {
    const packed = gzipSync(tarOf([{ path: 'a', body: 'x'.repeat(5_000) }]));
    await expect(read(packed.subarray(0, packed.length - 12))).rejects.toThrow('layer L is a broken gzip');
    await expect(read(Buffer.from('425a68390000000000', 'hex'))).rejects.toThrow('packed with bzip2');
  });

  it('lets nothing out that escapes, whatever the names', async () => {
    const name = fc
      .array(fc.constantFrom('..', '.', '', 'a', 'b', '.wh.a', '.wh..', '.wh...', '.wh..wh..opq'), {
        minLength: 1,
        maxLength: 6,
      })
      .map((parts) => parts.join('/'));
    const part = fc.record({ path: name, type: fc.constantFrom('0', '1', '2', '5', '6', '3'), link: name });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 5 }), async (parts) => {
        try {
          for (const entry of await read(tarOf(parts))) {
            expect(entry.path.split('/')).not.toContain('..');
            expect(entry.path.startsWith('/')).toBe(false);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(ClusterError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
