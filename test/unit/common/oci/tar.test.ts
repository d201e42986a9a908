import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { type TarEntry, TarReader } from '../../../../common/oci/tar.ts';
import { contentsOf } from '../../../../common/oci/tar-contents.ts';
import { headerOf, record, streamOf, tarOf } from '../../../support/tar.ts';

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

  it('takes an archive that ends with its last body, as umoci makes them', async () => {
    const tar = tarOf([{ path: 'a', body: 'x'.repeat(900) }]);
    expect((await entriesOf(tar.subarray(0, 512 + 900))).map(({ path }) => path)).toEqual(['a']);
    expect((await entriesOf(tar.subarray(0, 512 + 950))).map(({ path }) => path)).toEqual(['a']);
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

  it.each([
    [
      '0.0',
      [
        ['size', '9000'],
        ['numblocks', '2'],
        ['offset', '512'],
        ['numbytes', '3'],
        ['offset', '8000'],
        ['numbytes', '2'],
      ],
      '',
    ],
    [
      '0.1',
      [
        ['size', '9000'],
        ['name', 'real'],
        ['map', '512,3,8000,2'],
      ],
      '',
    ],
    [
      '1.0',
      [
        ['major', '1'],
        ['minor', '0'],
        ['name', 'real'],
        ['realsize', '9000'],
      ],
      '3\n512\n3\n8000\n2\n9000\n0\n',
    ],
  ])('reads a sparse file of PAX format %s', async (version, fields, map) => {
    const records = fields.map(([key, value]) => record(`GNU.sparse.${key}`, value as string));
    const body = map === '' ? 'abcde' : `${map.padEnd(512, '\0')}abcde`;
    const tar = tarOf([
      { path: 'x', type: 'x', body: Buffer.concat(records) },
      { path: 'mangled', body },
      { path: 'next', body: 'n' },
    ]);
    const extents = [
      { offset: 512, size: 3 },
      { offset: 8_000, size: 2 },
    ];
    const path = version === '0.0' ? 'mangled' : 'real';
    expect(await entriesOf(tar)).toMatchObject([
      { path, size: 9_000, extents, body: 'abcde' },
      { path: 'next', body: 'n' },
    ]);
  });

  it('gives the whole of a sparse file, zeros where it has holes', async () => {
    const pax = { 'GNU.sparse.size': '600000', 'GNU.sparse.map': '10,3,599000,2' };
    const reader = new TarReader(streamOf(tarOf([{ path: 'a', body: 'abcde', pax }])), 'the layer');
    const entry = await reader.next();
    const pieces: Buffer[] = [];
    for await (const piece of contentsOf(reader, entry as TarEntry, 100_000)) pieces.push(piece);
    const wanted = Buffer.alloc(600_000);
    wanted.write('abc', 10);
    wanted.write('de', 599_000);
    expect(Buffer.concat(pieces).equals(wanted)).toBe(true);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBe(100_000);
  });

  it('reads a sparse file of the old GNU format, its map over several blocks', async () => {
    const pair = (offset: number, size: number): string =>
      [offset, size].map((number) => `${number.toString(8).padStart(11, '0')}\0`).join('');
    const pairs = Array.from({ length: 30 }, (_, at) => pair(at * 1_000, 1));
    const header = headerOf({ path: 'old', type: 'S' }, 30, {
      257: 'ustar  \0',
      386: pairs.slice(0, 4).join(''),
      482: '\x01',
      483: `${(40_000).toString(8).padStart(11, '0')}\0`,
    });
    const blocks = [pairs.slice(4, 25), pairs.slice(25)].map((part, at) =>
      Buffer.from(`${part.join('').padEnd(504, '\0')}${at === 0 ? '\x01' : '\0'}`.padEnd(512, '\0'), 'latin1'),
    );
    const body = Buffer.alloc(512, 'x'.repeat(30).padEnd(512, '\0'));
    const [entry, next] = await entriesOf(Buffer.concat([header, ...blocks, body, tarOf([{ path: 'next' }])]));
    expect(entry).toMatchObject({ path: 'old', kind: 'file', size: 40_000, body: 'x'.repeat(30) });
    expect(entry?.extents).toHaveLength(30);
    expect(entry?.extents?.at(-1)).toEqual({ offset: 29_000, size: 1 });
    expect(next?.path).toBe('next');
  });

  it.each([
    ['overlaps', { 'GNU.sparse.map': '0,3,2,2' }],
    ['goes back', { 'GNU.sparse.map': '100,3,2,2' }],
    ['leaves the file', { 'GNU.sparse.map': '98,5' }],
    ['has other bytes than the archive', { 'GNU.sparse.map': '0,4' }],
    ['is no list of pairs', { 'GNU.sparse.map': '0,5,7' }],
    ['is no list of numbers', { 'GNU.sparse.map': '0,-5' }],
    ['has no size', { 'GNU.sparse.map': '0,5', 'GNU.sparse.size': '9e99' }],
    ['is of a format nobody knows', { 'GNU.sparse.major': '2', 'GNU.sparse.minor': '0', 'GNU.sparse.size': '' }],
    ['never ends', { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0' }],
  ])('refuses the map of a sparse file that %s', async (_why, fields) => {
    const tar = tarOf([{ path: 'a', body: 'abcde', pax: { 'GNU.sparse.size': '100', ...fields } }]);
    await expect(entriesOf(tar)).rejects.toThrow('the map of the sparse file "a" is malformed');
  });

  it('lets a global header speak for all that follows, until it or an entry says otherwise', async () => {
    const globals = (...records: readonly (readonly [string, string])[]) => ({
      path: 'g',
      type: 'g',
      body: Buffer.concat(records.map(([key, value]) => record(key, value))),
    });
    const tar = tarOf([
      globals(['uid', '7'], ['comment', 'of an export'], ['mtime', '5.5']),
      { path: 'a' },
      { path: 'b', pax: { uid: '8' } },
      globals(['uid', '']),
      { path: 'c' },
      { path: 'd', pax: { mtime: '' } },
      globals(['comment', 'the end']),
    ]);
    const found = await entriesOf(tar);
    expect(found.map(({ path, uid, mtime }) => `${path} ${uid} ${mtime.seconds}.${mtime.nanos}`)).toEqual([
      'a 7 5.500000000',
      'b 8 5.500000000',
      'c 0 5.500000000',
      'd 0 1700000000.0',
    ]);
  });

  it('refuses global headers that say ever more', async () => {
    const parts = Array.from({ length: 20 }, (_, at) => [
      { path: 'g', type: 'g', body: record(`key${at}`, 'x'.repeat(10_000)) },
      { path: `a${at}` },
    ]).flat();
    await expect(entriesOf(tarOf(parts))).rejects.toThrow('its global headers say more than 65536 bytes');
  });

  it('takes names that PAX calls binary byte for byte, as all others', async () => {
    const [entry] = await entriesOf(tarOf([{ path: 'x', pax: { hdrcharset: 'BINARY', path: 'caf\xe9' } }]));
    expect(entry?.path).toBe('caf\xe9');
  });

  it('takes attributes of star and of libarchive, also empty ones', async () => {
    const pax = {
      'SCHILY.xattr.user.empty': '',
      'LIBARCHIVE.xattr.user.b': 'AP8',
      'LIBARCHIVE.xattr.user.empty': 'AA',
    };
    const [entry] = await entriesOf(tarOf([{ path: 'x', pax }]));
    expect(entry?.xattrs).toEqual([
      ['user.empty', ''],
      ['user.b', '\0\xff'],
    ]);
  });

  it('reads a device with its numbers, from the header or beside it', async () => {
    const tar = tarOf([
      { path: 'null', type: '3', device: [1, 3] },
      { path: 'disk', type: '4', device: [8, 1], pax: { 'SCHILY.devmajor': '259', 'SCHILY.devminor': '70000' } },
    ]);
    expect(await entriesOf(tar)).toMatchObject([
      { kind: 'char', device: { major: 1, minor: 3 } },
      { kind: 'block', device: { major: 259, minor: 70_000 } },
    ]);
  });

  it('reads numbers up to what fits, in octal and in base 256', async () => {
    const base256 = (...bytes: readonly number[]): string => String.fromCharCode(...bytes);
    const of = (own: Readonly<Record<number, string>>) =>
      entriesOf(Buffer.concat([headerOf({ path: 'a' }, 0, own), Buffer.alloc(1_024)]));
    expect((await of({ 108: base256(0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff) }))[0]?.uid).toBe(2 ** 32 - 1);
    expect((await of({ 136: base256(0xff, ...Array.from({ length: 10 }, () => 0xff), 0xfe) }))[0]?.mtime.seconds).toBe(
      -2,
    );
    expect((await of({ 136: '77777777777 ' }))[0]?.mtime.seconds).toBe(8 ** 11 - 1);
    await expect(of({ 124: base256(0x80, ...Array.from({ length: 11 }, () => 0xff)) })).rejects.toThrow(
      'the size of entry 1 is not a number',
    );
    await expect(of({ 108: base256(0xff, ...Array.from({ length: 7 }, () => 0xff)) })).rejects.toThrow(
      'the uid of entry 1 is not a number',
    );
  });

  it('refuses unknown types and endless extensions', async () => {
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
