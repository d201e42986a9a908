/** Work that many ask for and one does. */
import { untilAborted } from './iterate.ts';

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

/**
 * Joins concurrent calls for the same key: the first starts the work, the others wait for its result. A caller that is
 * aborted only leaves; the work is aborted when nobody waits any more. Nothing is kept afterwards.
 */
export class SingleFlight<Key, T> {
  readonly #flights = new Map<Key, Flight<T>>();

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

  #start(key: Key, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const abort = new AbortController();
    const result = (async () => {
      try {
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
    // A newcomer must not join work that is being given up.
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
