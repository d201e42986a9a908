/**
 * gzip: what is short by Node's zlib, what is long by Debian's igzip where it is installed, which takes half the time or less and
 * runs beside us. Both read members one after the other and prove their checksums.
 */
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { ClusterError, messageOf } from '../errors.ts';
import { isInstalled, type Unpacker, unpackedBy } from './by-program.ts';

/** zlib's output is handed on in pieces of this size; its default of 16 KiB costs a turn of the loop each. */
const CHUNK_BYTES = 256 * 1024;
/** Packed; less is unpacked by the time that a program has started. */
const LONG_BYTES = 1024 * 1024;

const IGZIP: Unpacker = {
  program: 'igzip',
  args: ['--decompress', '--stdout'],
  packing: 'gzip',
  package: 'isal',
  judge: () => undefined,
};

/** @throws ClusterError `invalid` for a broken or cut off gzip; what `source` throws */
export async function* gunzipped(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  try {
    const { pieces, isWhole } = await beginning(chunks);
    const all = from(pieces, chunks);
    yield* isWhole || !isInstalled(IGZIP.program) ? byZlib(all, name) : unpackedBy(IGZIP, all, name);
  } finally {
    await chunks.return?.();
  }
}

async function beginning(
  chunks: AsyncIterator<Uint8Array>,
): Promise<{ readonly pieces: readonly Uint8Array[]; readonly isWhole: boolean }> {
  const pieces: Uint8Array[] = [];
  for (let bytes = 0; bytes < LONG_BYTES; ) {
    const next = await chunks.next();
    if (next.done === true) return { pieces, isWhole: true };
    pieces.push(next.value);
    bytes += next.value.length;
  }
  return { pieces, isWhole: false };
}

async function* from(pieces: readonly Uint8Array[], rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* byZlib(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const input = Readable.from(source, { objectMode: false, highWaterMark: CHUNK_BYTES });
  // Not stream.pipeline: it would turn what `source` throws into a premature close on our side.
  let sourceFailure: unknown;
  input.once('error', (cause) => {
    sourceFailure = cause;
    gunzip.destroy(cause);
  });
  input.pipe(gunzip);
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array;
  } catch (cause) {
    if (sourceFailure !== undefined) throw sourceFailure;
    throw new ClusterError('invalid', `${name} is a broken gzip: ${messageOf(cause)}`, {
      hint: 'export or copy the image again',
      cause,
    });
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}
