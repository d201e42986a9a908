/**
 * A layer's bytes hashed and unpacked by the native core, on other threads than the one that reads its entries: SHA-256 alone takes
 * half a second a gigabyte, and zstd by a program of its own another copy through pipes.
 */

import type { LayerMeans, RunningHash } from '../../common/oci/layer-means.ts';
import { brokenZstd, WINDOW_LOG_MAX, wantsMemory } from '../../common/oci/unzstd.ts';
import { type Addon, native } from '../../native/index.ts';
import { LAYER_MEMORY } from '../mesh/layer-memory.ts';

/** What waits to be hashed, at most: the reader may be so much ahead. */
const AHEAD_BYTES = 8 * 1024 * 1024;
/** A turn of the event loop for each; a file's body is written in pieces of as much. */
const UNPACKED_BYTES = 1024 * 1024;

export const NATIVE_MEANS: LayerMeans = {
  isLent: true,
  hash: () => new ThreadHash(),
  unzstd: (source, name) => ahead(unzstd(source, name)),
};

class ThreadHash implements RunningHash {
  readonly #addon: Addon = native();
  readonly #hash = this.#addon.sha256Open();
  #waiting: Uint8Array[] = [];
  #bytes = 0;
  #underway: Promise<void> | undefined;

  add(bytes: Uint8Array): Promise<void> | undefined {
    LAYER_MEMORY.keep(bytes);
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    this.#underway ??= this.#run();
    return this.#bytes > AHEAD_BYTES ? this.#underway : undefined;
  }

  async digest(): Promise<string> {
    await this.#underway;
    return this.#addon.sha256Digest(this.#hash);
  }

  /** What has come meanwhile goes together: a turn of the loop for many. */
  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const chunks = this.#waiting;
      this.#waiting = [];
      this.#bytes = 0;
      await this.#addon.sha256Update(this.#hash, chunks);
      for (const chunk of chunks) LAYER_MEMORY.release(chunk);
    }
    this.#underway = undefined;
  }
}

async function* unzstd(source: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  const addon = native();
  const stream = addon.unzstdOpen(WINDOW_LOG_MAX);
  let owes = false;
  for await (const chunk of source) {
    for (let at = 0, isFull = true; at < chunk.length || isFull; ) {
      const output = LAYER_MEMORY.take(UNPACKED_BYTES);
      const step = await addon.unzstdStep(stream, chunk.subarray(at), output);
      if (step.wantsMemory) throw wantsMemory(name);
      if (step.fault !== null) throw brokenZstd(name, step.fault);
      at += step.read;
      isFull = step.written === output.length;
      owes = !step.isBetween;
      if (step.written > 0) yield output.subarray(0, step.written);
      else LAYER_MEMORY.release(output);
    }
  }
  if (owes) throw brokenZstd(name, 'it is cut off');
}

/** The next is made while the reader works on the one before, whose memory then goes back. */
async function* ahead(source: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  let next = source.next();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done === true) return;
      next = source.next();
      // Looked at in the next turn, or not at all when the reader leaves.
      next.catch(() => undefined);
      yield value;
      LAYER_MEMORY.release(value);
    }
  } finally {
    await source.return(undefined);
  }
}
