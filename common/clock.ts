/** Time as a parameter: the only file that touches timers. Tests pass a fake (test/support/fake-clock.ts). */
import type { Instant } from './model/ids.ts';

export interface Clock {
  /** Wall-clock milliseconds. */
  now(): Instant;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `wake` once after `ms`; returns what cancels it. The timer does not keep the process alive. */
  after(ms: number, wake: () => void): () => void;
}

/** Timers of Node end at 2^31-1 ms; a longer wait wakes early and its caller looks again. */
const LONGEST_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(
        () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
        Math.min(ms, LONGEST_MS),
      );
      signal.addEventListener('abort', onAbort, { once: true });
    });
  },
  after(ms, wake) {
    const timer = setTimeout(wake, Math.min(Math.max(ms, 0), LONGEST_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
};
