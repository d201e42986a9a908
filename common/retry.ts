/** Trying again, with a wait that grows. */
import type { Clock } from './clock.ts';

export interface RetryOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly firstMs: number;
  readonly maxMs: number;
  /** 0…1: how much of a wait may be left out by chance, so that many do not come back at once. */
  readonly jitter: number;
  /** Tries in all; absent = until it works or `signal` is aborted. */
  readonly tries?: number;
  /** False ends the trying: the failure is not one that time heals. */
  readonly isWorthwhile?: (cause: unknown) => boolean;
  /** Told before each wait. */
  readonly onFailure?: (cause: unknown, delayMs: number) => void;
  /** 0 ≤ x < 1; for tests. */
  readonly random?: () => number;
}

/** The wait before try `attempt + 1` (from 1): doubled each time up to `maxMs`. */
export function backoff(attempt: number, firstMs: number, maxMs: number): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(attempt - 1, 30));
}

/** What `attempt` gives once it works. Rejects with its last failure, or with the signal's reason. */
export async function retry<T>(attempt: (tryNumber: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, signal, firstMs, maxMs, jitter, random = Math.random } = options;
  for (let tryNumber = 1; ; tryNumber += 1) {
    signal.throwIfAborted();
    try {
      return await attempt(tryNumber);
    } catch (cause) {
      signal.throwIfAborted();
      const isLast = tryNumber === options.tries || options.isWorthwhile?.(cause) === false;
      if (isLast) throw cause;
      const delayMs = Math.round(backoff(tryNumber, firstMs, maxMs) * (1 - jitter * random()));
      options.onFailure?.(cause, delayMs);
      await clock.sleep(delayMs, signal);
    }
  }
}
