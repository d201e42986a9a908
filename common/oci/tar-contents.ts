/** The whole of a tar entry's body, holes and all. */
import { ClusterError } from '../errors.ts';
import type { TarEntry, TarReader } from './tar.ts';

const ZEROS = Buffer.alloc(256 * 1024);

/**
 * Reads the body of the entry that `reader` gave last, in pieces of at most `max` bytes, `size` bytes in all: holes of a sparse
 * file are zeros. Pieces are not to be changed.
 */
export async function* contentsOf(reader: TarReader, entry: TarEntry, max: number): AsyncGenerator<Buffer> {
  let at = 0;
  for (const extent of entry.extents ?? [{ offset: 0, size: entry.size }]) {
    yield* zeros(extent.offset - at, max);
    for (at = extent.offset; at < extent.offset + extent.size; ) {
      const piece = await reader.chunk(Math.min(max, extent.offset + extent.size - at));
      if (piece === undefined)
        throw new ClusterError('internal', 'the body of a tar entry is shorter than its extents');
      at += piece.length;
      yield piece;
    }
  }
  yield* zeros(entry.size - at, max);
}

function* zeros(bytes: number, max: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= Math.min(left, max, ZEROS.length))
    yield ZEROS.subarray(0, Math.min(left, max, ZEROS.length));
}
