/**
 * Several writers, each in the order of time, and one reader who gets all of it in that order. A line comes out once every
 * writer has one or has ended, so a bounded number of each waits; a writer that is faster than the reader waits too.
 */
import { type PromiseWithResolvers, withResolvers } from '../../common/iterate.ts';
import type { Outlet, Writer } from './outlet.ts';

interface Dated {
  /** RFC 3339 with nine digits: compared as text. */
  readonly time?: string | null;
}

interface Source<T> {
  waiting: readonly T[];
  /** Of `waiting`, what was read. */
  head: number;
  isEnded: boolean;
  room: PromiseWithResolvers<void> | undefined;
}

export class TimeOrder<T extends Dated> implements Outlet<T> {
  readonly #limit: number;
  readonly #signal: AbortSignal;
  readonly #sources = new Set<Source<T>>();
  #news: PromiseWithResolvers<void> | undefined;
  #isEnded = false;
  #hasLeft = false;

  /** @param limit  items of one writer that may wait; a put of several may exceed it once */
  constructor(limit: number, signal: AbortSignal) {
    this.#limit = limit;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#leave(), { once: true });
  }

  writer(): Writer<T> {
    const source: Source<T> = { waiting: [], head: 0, isEnded: false, room: undefined };
    this.#sources.add(source);
    return {
      put: (items) => this.#put(source, items),
      end: () => {
        source.isEnded = true;
        this.#tell();
      },
    };
  }

  end(): void {
    this.#isEnded = true;
    this.#tell();
  }

  async *read(): AsyncIterable<T> {
    try {
      while (!this.#signal.aborted) {
        const source = this.#earliest();
        const item = source?.waiting[source.head];
        if (source === undefined || item === undefined) {
          if (this.#isEnded && this.#sources.size === 0) return;
          this.#news = withResolvers<void>();
          await this.#news.promise;
        } else {
          yield item;
          source.head += 1;
          if (left(source) < this.#limit) admit(source);
        }
      }
    } finally {
      this.#leave();
    }
  }

  async #put(source: Source<T>, items: readonly T[]): Promise<boolean> {
    source.waiting = [...source.waiting.slice(source.head), ...items];
    source.head = 0;
    this.#tell();
    while (!this.#hasLeft && left(source) >= this.#limit) {
      source.room ??= withResolvers<void>();
      await source.room.promise;
    }
    return !this.#hasLeft;
  }

  /** Whose next item comes before all others'; undefined while that cannot be known. */
  #earliest(): Source<T> | undefined {
    let found: Source<T> | undefined;
    for (const source of this.#sources) {
      if (left(source) === 0) {
        if (!source.isEnded) return undefined;
        this.#sources.delete(source);
      } else if (found === undefined || timeOf(source) < timeOf(found)) {
        found = source;
      }
    }
    return found;
  }

  #tell(): void {
    this.#news?.resolve();
  }

  #leave(): void {
    this.#hasLeft = true;
    for (const source of this.#sources) admit(source);
    this.#tell();
  }
}

function left<T>({ waiting, head }: Source<T>): number {
  return waiting.length - head;
}

function timeOf<T extends Dated>({ waiting, head }: Source<T>): string {
  return waiting[head]?.time ?? '';
}

function admit<T>(source: Source<T>): void {
  const { room } = source;
  source.room = undefined;
  room?.resolve();
}
