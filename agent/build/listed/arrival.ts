/** Contents as they come from a client: one behind the other, in pieces of any size. Goes out: each one by itself, a few at a time. */
import { ClusterError } from '../../../common/errors.ts';
import { several } from '../../../common/several.ts';
import type { Content, ContentFolder } from './contents.ts';

/** Larger ones are written as they come, the others together. */
const SMALL_BYTES = 1024 * 1024;
/** Of small ones in memory. */
const BATCH_BYTES = 8 * 1024 * 1024;
const BATCH_MAX = 256;
const WRITERS = 8;

/** Puts all of `contents` into the folder. @throws ClusterError `invalid` when they do not come, or are others; what `put` throws */
export async function receive(
  contents: readonly Content[],
  source: AsyncIterable<Uint8Array>,
  folder: Pick<ContentFolder, 'put'>,
  signal: AbortSignal,
): Promise<void> {
  const pieces = new Pieces(source);
  let batch: { readonly content: Content; readonly pieces: readonly Uint8Array[] }[] = [];
  let bytes = 0;
  const write = async (): Promise<void> => {
    await several(batch, WRITERS, (each) => folder.put(each.content, each.pieces), signal);
    batch = [];
    bytes = 0;
  };
  for (const content of contents) {
    signal.throwIfAborted();
    if (content.size > SMALL_BYTES) {
      await folder.put(content, pieces.of(content.size));
      continue;
    }
    batch.push({ content, pieces: await all(pieces.of(content.size)) });
    bytes += content.size;
    if (bytes >= BATCH_BYTES || batch.length >= BATCH_MAX) await write();
  }
  await write();
  if (await pieces.isMore()) throw new ClusterError('invalid', 'more contents came than the node had asked for');
}

class Pieces {
  readonly #source: AsyncIterator<Uint8Array>;
  #left: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next bytes, so many. */
  async *of(size: number): AsyncGenerator<Uint8Array> {
    for (let missing = size; missing > 0; ) {
      if (!(await this.isMore())) {
        throw new ClusterError('invalid', `the contents of the build context ended ${missing} bytes too early`, {
          hint: 'build again',
        });
      }
      const piece = this.#left.subarray(0, missing);
      this.#left = this.#left.subarray(piece.length);
      missing -= piece.length;
      yield piece;
    }
  }

  async isMore(): Promise<boolean> {
    while (this.#left.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#left = next.value;
    }
    return true;
  }
}

async function all(pieces: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const found: Uint8Array[] = [];
  for await (const piece of pieces) found.push(piece);
  return found;
}
