/** zstd by Debian's program of that name, because Node 20 has none. */
import { ClusterError } from '../errors.ts';
import { type Unpacker, unpackedBy } from './by-program.ts';

/** What unpacking may look back on, as a power of two: `zstd -d` itself allows 128 MiB; `--long=28` and more asks the reader for more. */
export const WINDOW_LOG_MAX = 27;
const WINDOW_MIB_MAX = 2 ** (WINDOW_LOG_MAX - 20);

const ZSTD: Unpacker = {
  program: 'zstd',
  args: ['--decompress', '--stdout', '--quiet', '--no-progress', `--memory=${WINDOW_MIB_MAX}MiB`],
  packing: 'zstd',
  package: 'zstd',
  judge: (words, name) => (/too much memory/i.test(words) ? wantsMemory(name) : undefined),
};

/** A frame wants more memory than it may have. */
export function wantsMemory(name: string): ClusterError {
  return new ClusterError('invalid', `${name} is packed with a zstd window of more than ${WINDOW_MIB_MAX} MiB`, {
    hint: `pack it without --long, or with --long=${WINDOW_LOG_MAX} at most`,
  });
}

/** @param why  as zstd says it */
export function brokenZstd(name: string, why: string): ClusterError {
  return new ClusterError('invalid', `${name} is a broken zstd: ${why}`, { hint: 'export or copy the image again' });
}

/**
 * Frames one after the other, skippable ones too; checksums are proved where a frame has one.
 *
 * @throws ClusterError as unpackedBy, `invalid` also for frames that want more memory than 128 MiB
 */
export function unzstd(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  return unpackedBy(ZSTD, source, name);
}
