/** Work on many things, a few at a time. */

/**
 * Calls `work` for each item, at most `max` at once, begun in the items' order. The first failure aborts the others' signal and is
 * what this rejects with, once all have ended; an abort of `signal` rejects with its reason.
 */
export async function several<T>(
  items: readonly T[],
  max: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const waiting = [...items];
  const workers = Array.from({ length: Math.min(max, items.length) }, async () => {
    try {
      for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
        either.throwIfAborted();
        await work(item, either);
      }
    } catch (cause) {
      failed.abort(cause);
    }
  });
  await Promise.all(workers);
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
}
