/** Many writers, one reader, a bounded number of lines in between: a writer that is faster than the reader waits. */
import { type PromiseWithResolvers, Queue, withResolvers } from '../../common/iterate.ts';

export class Funnel<T> {
  readonly #queue: Queue<T>;
  readonly #limit: number;
  #room: PromiseWithResolvers<void> | undefined;

  /** @param limit  items that may wait; a put of several may exceed it once */
  constructor(limit: number, signal: AbortSignal) {
    this.#limit = limit;
    this.#queue = new Queue(Number.POSITIVE_INFINITY, signal);
  }

  /** False when the reader has gone. */
  get isOpen(): boolean {
    return !this.#queue.ended;
  }

  /** Resolves when there is room for more; false when the reader has gone. */
  async put(items: readonly T[]): Promise<boolean> {
    for (const item of items) this.#queue.push(item);
    while (this.isOpen && this.#queue.length >= this.#limit) {
      this.#room ??= withResolvers<void>();
      await this.#room.promise;
    }
    return this.isOpen;
  }

  /** No more items; the reader gets what waits. */
  end(): void {
    this.#queue.end();
    this.#admit();
  }

  /** The one reader. Leaving it frees all writers. */
  async *read(): AsyncIterable<T> {
    try {
      for await (const item of this.#queue) {
        yield item;
        if (this.#queue.length < this.#limit) this.#admit();
      }
    } finally {
      this.#queue.end();
      this.#admit();
    }
  }

  #admit(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.resolve();
  }
}
