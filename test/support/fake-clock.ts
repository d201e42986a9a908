/** A clock that stands still until it is told to move. Timers that fall due run in the order of their time, then of their making. */
import type { Clock } from '../../common/clock.ts';
import { withResolvers } from '../../common/iterate.ts';
import type { Instant } from '../../common/model/ids.ts';

interface Timer {
  readonly at: Instant;
  readonly number: number;
  readonly wake: () => void;
}

export class FakeClock implements Clock {
  #now: Instant;
  #made = 0;
  readonly #timers = new Set<Timer>();

  constructor(start: Instant = 0) {
    this.#now = start;
  }

  now(): Instant {
    return this.#now;
  }

  after(ms: number, wake: () => void): () => void {
    this.#made += 1;
    const timer: Timer = { at: this.#now + Math.max(0, ms), number: this.#made, wake };
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const end = withResolvers<void>();
    const cancel = this.after(ms, () => end.resolve());
    const onAbort = (): void => end.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await end.promise;
    } finally {
      cancel();
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** When the next timer falls due; absent = none is set. */
  get nextAt(): Instant | undefined {
    return this.#next()?.at;
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Moves on by `ms` and runs what falls due, also what those timers set. Promises they settle run after this returns. */
  advance(ms: number): void {
    this.advanceTo(this.#now + ms);
  }

  /** Moves on to `instant`; an earlier one than now changes nothing. */
  advanceTo(instant: Instant): void {
    for (let due = this.#next(); due !== undefined && due.at <= instant; due = this.#next()) {
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.wake();
    }
    this.#now = Math.max(this.#now, instant);
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.number < first.number)) {
        first = timer;
      }
    }
    return first;
  }
}

/** Lets every promise that can go on do so: for tests that drive asynchronous code with a fake clock. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
