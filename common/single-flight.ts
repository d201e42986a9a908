/** Work that many ask for and one does. */
import { untilAborted } from './iterate.ts';

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

/**
 * Joins concurrent calls for the same key: the first starts the work, the others wait for its result. A caller that is
 * aborted only leaves; the work is aborted when nobody waits any more, and the next work of its key begins when it has ended: two
 * would write one file. Nothing is kept afterwards.
 */
export class SingleFlight<Key, T> {
  readonly #flights = new Map<Key, Flight<T>>();
  /** Works that nobody waits for any more; each resolves when it has ended. */
  readonly #ending = new Map<Key, Promise<void>>();

  /** Keys whose work is under way. */
  get keys(): readonly Key[] {
    return [...this.#flights.keys()];
  }

  async run(key: Key, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiting += 1;
    try {
      return await untilAborted(flight.result, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) this.#leave(key, flight);
    }
  }

  /** Resolves when no work that was given up is still at it. Never rejects. */
  async settled(): Promise<void> {
    while (this.#ending.size > 0) await Promise.all(this.#ending.values());
  }

  #start(key: Key, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const before = this.#ending.get(key);
    const result = (async () => {
      try {
        if (before !== undefined) await before;
        abort.signal.throwIfAborted();
        return await work(abort.signal);
      } finally {
        if (this.#flights.get(key)?.abort === abort) this.#flights.delete(key);
      }
    })();
    // Everybody may have left before it fails.
    result.catch(() => undefined);
    const flight: Flight<T> = { result, abort, waiting: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  #leave(key: Key, flight: Flight<T>): void {
    flight.abort.abort(new Error('nobody waits for it any more'));
    if (this.#flights.get(key) !== flight) return;
    // A newcomer must not join work that is being given up.
    this.#flights.delete(key);
    const ending: Promise<void> = flight.result
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => {
        if (this.#ending.get(key) === ending) this.#ending.delete(key);
      });
    this.#ending.set(key, ending);
  }
}
