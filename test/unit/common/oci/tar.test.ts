import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { type TarEntry, TarReader } from '../../../../common/oci/tar.ts';
import { headerOf, streamOf, tarOf } from '../../../support/tar.ts';

async function entriesOf(tar: Uint8Array, piece = 700): Promise<(TarEntry & { body: string })[]> {
  const reader = new TarReader(streamOf(tar, piece), 'the layer');
  const entries: (TarEntry & { body: string })[] = [];
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    const pieces: Buffer[] = [];
    for (let chunk = await reader.chunk(100); chunk !== undefined; chunk = await reader.chunk(100)) pieces.push(chunk);
    entries.push({ ...entry, body: Buffer.concat(pieces).toString('latin1') });
  }
  return entries;
}

describe('the tar reader', () => {
  it('reads names, bodies, owners, modes and times', async () => {
    const tar = tarOf([
      { path: 'a', body: 'x'.repeat(1_300), mode: 0o4755, uid: 5, gid: 6, mtime: 7 },
      { path: 'd/', type: '5', mode: 0o1777 },
      { path: 'l', type: '2', link: 'a' },
    ]);
    expect(await entriesOf(tar)).toMatchObject([
      {
        kind: 'file',
        path: 'a',
        body: 'x'.repeat(1_300),
        mode: 0o4755,
        uid: 5,
        gid: 6,
        mtime: { seconds: 7, nanos: 0 },
      },
      { kind: 'directory', path: 'd/', mode: 0o1777 },
      { kind: 'symlink', path: 'l', link: 'a' },
    ]);
  });

  it('takes PAX names, sizes, owners, fractions of seconds and attributes, byte for byte', async () => {
    const long = `${'n'.repeat(300)}/${'\xff\xfe'}`;
    const pax = { path: long, uid: '3000000', mtime: '-1.25', 'SCHILY.xattr.security.capability': '\x01\x00\xff=\n' };
    const [entry] = await entriesOf(tarOf([{ path: 'short', pax }]));
    expect(entry).toMatchObject({
      path: long,
      uid: 3_000_000,
      mtime: { seconds: -2, nanos: 750_000_000 },
      xattrs: [['security.capability', '\x01\x00\xff=\n']],
    });
  });

  it('takes GNU long names and links', async () => {
    const tar = tarOf([
      { path: '././@LongLink', type: 'L', body: `${'p'.repeat(200)}\0` },
      { path: '././@LongLink', type: 'K', body: `${'t'.repeat(150)}\0` },
      { path: 'p', type: '2', link: 't' },
    ]);
    expect(await entriesOf(tar)).toMatchObject([{ kind: 'symlink', path: 'p'.repeat(200), link: 't'.repeat(150) }]);
  });

  it('passes over bodies that nobody reads', async () => {
    const reader = new TarReader(
      streamOf(tarOf([{ path: 'a', body: 'x'.repeat(9_999) }, { path: 'b' }]), 333),
      'the layer',
    );
    expect((await reader.next())?.path).toBe('a');
    expect((await reader.next())?.path).toBe('b');
    expect(await reader.next()).toBeUndefined();
  });

  it('refuses a wrong checksum, naming the entry', async () => {
    const tar = tarOf([{ path: 'a' }, { path: 'b' }]);
    tar[600] = 1;
    await expect(entriesOf(tar)).rejects.toThrow(
      'the layer is not a sound tar archive: the header of entry 2 has a wrong checksum',
    );
  });

  it.each([
    ['inside a body', 512 + 100],
    ['inside a header', 100],
  ])('refuses an archive that is cut off %s', async (_where, length) => {
    await expect(entriesOf(tarOf([{ path: 'a', body: 'x'.repeat(900) }]).subarray(0, length))).rejects.toThrow(
      'cut off',
    );
  });

  it('refuses sparse files, unknown types and endless extensions', async () => {
    await expect(entriesOf(tarOf([{ path: 'a', type: 'S' }]))).rejects.toThrow('sparse');
    await expect(entriesOf(tarOf([{ path: 'a', type: 'Z' }]))).rejects.toThrow('unknown type "Z"');
    const extensions = Array.from({ length: 20 }, () => ({ path: 'x', type: 'x', body: '13 comment=1\n' }));
    await expect(entriesOf(tarOf([...extensions, { path: 'a' }]))).rejects.toThrow('extended headers');
    await expect(
      entriesOf(Buffer.concat([headerOf({ path: 'x', type: 'x' }, 2 ** 30), Buffer.alloc(512)])),
    ).rejects.toThrow('an extended header has 1073741824 bytes');
  });

  it('ends in entries or a ClusterError for any bytes', async () => {
    const sound = tarOf([
      { path: 'a', body: 'abc', pax: { path: 'long' } },
      { path: 'd/', type: '5' },
      { path: 'b', body: 'x' },
    ]);
    const spoilt = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { maxLength: 12 }).map((changes) => {
      const bytes = Buffer.from(sound);
      for (const [at, byte] of changes) bytes[at] = byte;
      return bytes;
    });
    const resummed = fc
      .tuple(fc.string({ maxLength: 100 }), fc.string({ minLength: 1, maxLength: 1 }), fc.nat(3_000))
      .map(([path, type, size]) => Buffer.concat([headerOf({ path, type }, size), Buffer.alloc(1_024)]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(spoilt, resummed, fc.uint8Array({ maxLength: 2_000 })), async (bytes) => {
        try {
          await entriesOf(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ClusterError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
