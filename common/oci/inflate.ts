/** Layers and archives as plain bytes, however they are packed. */
import { ClusterError } from '../errors.ts';
import { gunzipped } from './gunzip.ts';
import { type LayerMeans, NODE_MEANS } from './layer-means.ts';

export type Packing = 'gzip' | 'zstd' | 'plain';

const GZIP = [0x1f, 0x8b];
const ZSTD = [0x28, 0xb5, 0x2f, 0xfd];
/** Behind a first byte of 0x50 to 0x5f: a frame to be passed over, with which tools that seek in zstd begin. Source: RFC 8878, 3.1.2. */
const ZSTD_SKIPPED = [0x2a, 0x4d, 0x18];
const OTHERS: readonly (readonly [name: string, magic: readonly number[]])[] = [
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
];

/** Enough bytes for `packingOf`. */
export const MAGIC_BYTES = 8;

/** How bytes that begin so are packed. */
export function packingOf(head: Uint8Array): Packing {
  if (startsWith(head, GZIP)) return 'gzip';
  const isSkipped = ((head[0] ?? 0) & 0xf0) === 0x50 && startsWith(head.subarray(1), ZSTD_SKIPPED);
  return isSkipped || startsWith(head, ZSTD) ? 'zstd' : 'plain';
}

/**
 * Unpacks gzip and zstd, passes anything else on; told by the first bytes, because media types and file names are often wrong.
 * `source` is read whole unless the reader leaves early.
 *
 * @param name  what errors call it
 * @param means  how zstd is unpacked, and whether the source's chunks change
 * @throws ClusterError `invalid` for a broken or cut off gzip or zstd and for packings that are not understood, `unavailable` when
 *   the program for zstd cannot be run; what `source` throws
 */
export async function* inflated(
  source: AsyncIterable<Uint8Array>,
  name: string,
  { isLent, unzstd }: Pick<LayerMeans, 'isLent' | 'unzstd'> = NODE_MEANS,
): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    const head = await readHead(chunks);
    for (const [packing, magic] of OTHERS) {
      if (!startsWith(head, magic)) continue;
      throw new ClusterError('invalid', `${name} is packed with ${packing}`, {
        hint: 'only gzip, zstd and plain tar are understood',
      });
    }
    const whole = from(head, chunks);
    switch (packingOf(head)) {
      case 'gzip':
        // It is fed to a program or zlib, which take what is before them later.
        yield* gunzipped(isLent ? copied(whole) : whole, name);
        return;
      case 'zstd':
        yield* unzstd(whole, name);
        return;
      case 'plain':
        yield* whole;
    }
  } finally {
    await chunks.return?.();
  }
}

async function readHead(chunks: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let head: Buffer = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const next = await chunks.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return head;
}

async function* from(head: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* copied(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) yield Buffer.from(chunk);
}

/** The bytes of `source` as they come, until there are more than `max`; then throws what `refuse` makes. */
export async function* bounded(
  source: AsyncIterable<Uint8Array>,
  max: number,
  refuse: () => ClusterError,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > max) throw refuse();
    yield chunk;
  }
}

function startsWith(head: Uint8Array, magic: readonly number[]): boolean {
  return head.length >= magic.length && magic.every((byte, index) => head[index] === byte);
}
