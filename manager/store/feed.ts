/**
 * Hands the store's changes to its readers, each with a bounded queue of its own, and wakes whoever waits for a revision.
 * A reader that falls behind gets one `resync` in place of what it missed; nobody can hold up the store or the others.
 */

import { Queue, untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Revision } from '../../common/model/ids.ts';
import type { Batch } from './store.ts';

/** Changes that may wait for one reader: more than a cluster of this size changes in a few seconds, about 20 MB. */
export const BACKLOG_CHANGES_MAX = 50_000;

interface Reader {
  readonly queue: Queue<Batch | 'resync'>;
  waiting: number;
}

interface Waiter {
  readonly revision: Revision;
  readonly wake: () => void;
}

export class Feed {
  readonly #backlogMax: number;
  readonly #readers = new Set<Reader>();
  readonly #waiters = new Set<Waiter>();
  #revision: Revision = 0;

  constructor(backlogMax: number = BACKLOG_CHANGES_MAX) {
    this.#backlogMax = backlogMax;
  }

  /** The view has already been moved on when this is called. */
  publish(batch: Batch): void {
    if (batch.changes.length > 0) for (const reader of this.#readers) this.#offer(reader, batch);
    this.#reach(batch.revision);
  }

  /** The view was read anew at `revision`: every reader has to look at everything. */
  resync(revision: Revision): void {
    for (const reader of this.#readers) startAnew(reader);
    this.#reach(revision);
  }

  /** Everything published from this call on, whether or not the reader has begun to read. */
  subscribe(signal: AbortSignal): AsyncIterable<Batch | 'resync'> {
    const reader: Reader = { queue: new Queue(Number.POSITIVE_INFINITY, signal), waiting: 0 };
    this.#readers.add(reader);
    return this.#read(reader);
  }

  /** Resolves when `revision` has been published. */
  async reached(revision: Revision, signal: AbortSignal): Promise<void> {
    if (this.#revision >= revision) return;
    const arrival = withResolvers<void>();
    const waiter: Waiter = { revision, wake: () => arrival.resolve() };
    this.#waiters.add(waiter);
    try {
      await untilAborted(arrival.promise, signal);
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  async *#read(reader: Reader): AsyncIterable<Batch | 'resync'> {
    try {
      for await (const next of reader.queue) {
        reader.waiting -= weight(next);
        yield next;
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  #offer(reader: Reader, batch: Batch): void {
    if (reader.queue.ended) {
      this.#readers.delete(reader);
      return;
    }
    if (reader.waiting + weight(batch) > this.#backlogMax && reader.waiting > 0) {
      startAnew(reader);
      return;
    }
    reader.waiting += weight(batch);
    reader.queue.push(batch);
  }

  #reach(revision: Revision): void {
    this.#revision = revision;
    for (const waiter of this.#waiters) if (waiter.revision <= revision) waiter.wake();
  }
}

function startAnew(reader: Reader): void {
  reader.queue.clear();
  reader.waiting = weight('resync');
  reader.queue.push('resync');
}

function weight(next: Batch | 'resync'): number {
  return next === 'resync' ? 1 : next.changes.length;
}
