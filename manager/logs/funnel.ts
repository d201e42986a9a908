/**
 * Many writers, one reader, everything as it comes, a bounded number of lines in between: a writer that is faster than the
 * reader waits.
 */
import { type PromiseWithResolvers, Queue, withResolvers } from '../../common/iterate.ts';
import type { Outlet, Writer } from './outlet.ts';

export class Funnel<T> implements Outlet<T> {
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

  writer(): Writer<T> {
    return { put: (items) => this.#put(items), end: () => undefined };
  }

  end(): void {
    this.#queue.end();
    this.#admit();
  }

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

  async #put(items: readonly T[]): Promise<boolean> {
    for (const item of items) this.#queue.push(item);
    while (this.isOpen && this.#queue.length >= this.#limit) {
      this.#room ??= withResolvers<void>();
      await this.#room.promise;
    }
    return this.isOpen;
  }

  #admit(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.resolve();
  }
}
