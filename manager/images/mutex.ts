/** One at a time, in order of arrival. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when all earlier work has ended; an abort while waiting gives up the turn, later it is up to `work`. */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const turn = this.#last.then(() => (signal.aborted ? Promise.reject(signal.reason) : work()));
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
