/** Bytes of a stream, taken in the sizes its reader wants. */

/** Buffers at most one chunk of the source, or as much as one `take` asks for. A chunk may change once the next is asked for. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Buffer = Buffer.alloc(0);
  #ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** Exactly `size` bytes, the caller's own; fewer when the source ends in them, undefined when it has ended before. */
  async take(size: number): Promise<Buffer | undefined> {
    if (this.#chunk.length >= size) return Buffer.from(this.#cut(size));
    const whole = Buffer.allocUnsafe(size);
    let got = 0;
    while (got < size) {
      const piece = await this.some(size - got);
      if (piece === undefined) break;
      got += piece.copy(whole, got);
    }
    if (got === 0 && size > 0) return undefined;
    return whole.subarray(0, got);
  }

  /** Between 1 and `max` bytes, whatever is at hand, in the source's memory; undefined at the end. */
  async some(max: number): Promise<Buffer | undefined> {
    while (this.#chunk.length === 0) {
      if (this.#ended) return undefined;
      const next = await this.#chunks.next();
      if (next.done === true) this.#ended = true;
      else this.#chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    return this.#cut(Math.min(max, this.#chunk.length));
  }

  /** Tells the source that no more is wanted. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#chunk = Buffer.alloc(0);
    await this.#chunks.return?.();
  }

  #cut(size: number): Buffer {
    const piece = this.#chunk.subarray(0, size);
    this.#chunk = this.#chunk.subarray(size);
    return piece;
  }
}
