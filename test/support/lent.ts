/** Bytes as an agent reads them: in memory that is used again as soon as nobody needs it, so that who reads too late reads others. */
import { LAYER_MEMORY } from '../../agent/mesh/layer-memory.ts';

/** Each chunk is good until the next is asked for. */
export async function* lentStreamOf(bytes: Uint8Array, size = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, at + size);
    const lent = LAYER_MEMORY.take(chunk.length);
    try {
      lent.set(chunk);
      yield lent;
    } finally {
      LAYER_MEMORY.release(lent);
    }
  }
}
