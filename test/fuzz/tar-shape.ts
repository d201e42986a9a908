/** Tars as seeds, and how a changed one is mended: checksums, and lengths of PAX records. */
import { headerOf, record, type TarPart, tarOf } from '../support/tar.ts';
import type { Random } from './random.ts';

const BLOCK = 512;

export const WORDS: readonly string[] = [
  '../',
  '/',
  './',
  '..',
  '.wh.',
  '.wh..wh..opq',
  '.wh..wh.',
  'a',
  'a/b',
  'ustar\x0000',
  'ustar  \0',
  '\x80\0\0\0',
  '\xff\xff\xff\xff',
  '\0',
  'path=',
  'linkpath=',
  'size=',
  'uid=',
  'gid=',
  'mtime=',
  'hdrcharset=BINARY',
  'comment=',
  'SCHILY.xattr.user.a=',
  'LIBARCHIVE.xattr.user.b=',
  'SCHILY.xattr.security.capability=',
  'SCHILY.devmajor=',
  'GNU.sparse.map=',
  'GNU.sparse.size=',
  'GNU.sparse.realsize=',
  'GNU.sparse.name=',
  'GNU.sparse.major=1',
  'GNU.sparse.minor=0',
  'GNU.sparse.offset=',
  'GNU.sparse.numbytes=',
  'GNU.sparse.numblocks=',
  '\n',
  '0,5,9,1',
];

const pax = (records: readonly (readonly [string, string])[], type = 'x'): TarPart => ({
  path: 'pax',
  type,
  body: Buffer.concat(records.map(([key, value]) => record(key, value))),
});
const octal = (number: number): string => `${number.toString(8).padStart(11, '0')}\0`;

export function tarSeeds(): readonly Buffer[] {
  const all: readonly TarPart[] = [
    { path: './', type: '5', mode: 0o755 },
    { path: 'a/', type: '5' },
    { path: 'a/f', body: 'hello', mode: 0o4755, pax: { 'SCHILY.xattr.user.a': 'b', mtime: '-1.5' } },
    { path: 'a/h', type: '1', link: 'a/f' },
    { path: 'a/s', type: '2', link: '../../etc' },
    { path: 'p', type: '6' },
    { path: 'n', type: '3', device: [1, 3] },
    { path: 'd', type: '4', device: [8, 1] },
    { path: 'a/.wh.x' },
    { path: 'a/.wh..wh..opq' },
  ];
  const long: readonly TarPart[] = [
    { path: '././@LongLink', type: 'L', body: `${'p/'.repeat(100)}x\0` },
    { path: '././@LongLink', type: 'K', body: `${'t'.repeat(150)}\0` },
    { path: 'p', type: '2', link: 't' },
    pax(
      [
        ['uid', '7'],
        ['comment', 'c'],
      ],
      'g',
    ),
    { path: 'long', pax: { path: `${'n/'.repeat(60)}n`, uid: '3000000' } },
  ];
  const sparse: readonly TarPart[] = [
    {
      path: 's1',
      body: 'abcde',
      pax: { 'GNU.sparse.size': '9000', 'GNU.sparse.name': 'r', 'GNU.sparse.map': '512,3,8000,2' },
    },
    pax([
      ['GNU.sparse.size', '9'],
      ['GNU.sparse.offset', '4'],
      ['GNU.sparse.numbytes', '5'],
    ]),
    { path: 's2', body: 'abcde' },
    pax([
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.realsize', '900'],
    ]),
    { path: 's3', body: `${'1\n30\n5\n'.padEnd(BLOCK, '\0')}abcde` },
  ];
  const old = headerOf({ path: 'o', type: 'S' }, 2, {
    257: 'ustar  \0',
    386: octal(9) + octal(2),
    482: '\x01',
    483: octal(99),
  });
  const rest = Buffer.concat([Buffer.alloc(BLOCK), Buffer.from('xy'.padEnd(BLOCK, '\0'))]);
  return [...[all, long, sparse].map((parts) => tarOf(parts)), Buffer.concat([old, rest, tarOf([{ path: 'z' }])])];
}

/** Turns whole blocks about: entries twice, gone, or elsewhere. */
export function reshaped(bytes: Buffer, random: Random): Buffer {
  const blocks = Array.from({ length: Math.ceil(bytes.length / BLOCK) }, (_, at) =>
    bytes.subarray(at * BLOCK, (at + 1) * BLOCK),
  );
  if (blocks.length === 0) return bytes;
  const from = random.below(blocks.length);
  const moved = blocks.splice(from, random.once(3) ? 0 : 1 + random.below(3));
  const copies = moved.length === 0 ? [blocks[from % blocks.length] as Buffer] : random.once(3) ? [] : moved;
  blocks.splice(random.below(blocks.length + 1), 0, ...copies);
  const flagged = blocks[random.below(Math.max(blocks.length, 1))];
  const whole = Buffer.concat(blocks);
  if (flagged === undefined || random.once(2)) return whole;
  const at = random.below(Math.ceil(whole.length / BLOCK)) * BLOCK;
  if (at + BLOCK <= whole.length)
    whole.write(random.pick(['0', '1', '2', '3', '5', '6', 'x', 'g', 'L', 'K', 'S', '\0']), at + 156, 'latin1');
  return whole;
}

/** Puts right sums into what looks like headers, and right lengths before what looks like PAX records. */
export function mended(bytes: Buffer): Buffer {
  const whole = Buffer.from(bytes);
  for (let at = 0; at + BLOCK <= whole.length; at += BLOCK) {
    const block = whole.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) === 'ustar') sum(block);
    else if (/^\d+ [\w.]+=/.test(block.toString('latin1', 0, 40))) relength(block);
  }
  return whole;
}

function sum(block: Buffer): void {
  block.write('        ', 148, 'latin1');
  const total = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${total.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** Records that still fit into their block keep their place; what is behind them goes. */
function relength(block: Buffer): void {
  const text = block.toString('latin1').replace(/\0+$/, '');
  const records = text.split('\n').flatMap((line) => {
    const match = /^\d* ?([^=]+)=(.*)$/s.exec(line);
    return match === null ? [] : [record(match[1] as string, match[2] as string)];
  });
  const written = Buffer.concat(records).subarray(0, BLOCK);
  block.fill(0);
  written.copy(block);
}
