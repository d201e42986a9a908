/** zstd by Debian's program of that name, because Node 20 has none. */
import { ClusterError } from '../errors.ts';
import { type Unpacker, unpackedBy } from './by-program.ts';

/** What unpacking may look back on. 128 MiB is what `zstd -d` itself allows; `--long=28` and more asks the reader for more. */
const WINDOW_MIB_MAX = 128;

const ZSTD: Unpacker = {
  program: 'zstd',
  args: ['--decompress', '--stdout', '--quiet', '--no-progress', `--memory=${WINDOW_MIB_MAX}MiB`],
  packing: 'zstd',
  package: 'zstd',
  judge: (words, name) => {
    if (!/too much memory/i.test(words)) return undefined;
    return new ClusterError('invalid', `${name} is packed with a zstd window of more than ${WINDOW_MIB_MAX} MiB`, {
      hint: 'pack it without --long, or with --long=27 at most',
    });
  },
};

/**
 * Frames one after the other, skippable ones too; checksums are proved where a frame has one.
 *
 * @throws ClusterError as unpackedBy, `invalid` also for frames that want more memory than 128 MiB
 */
export function unzstd(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  return unpackedBy(ZSTD, source, name);
}
