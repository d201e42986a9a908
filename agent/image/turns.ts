/** Lets a few work at a time; the others wait in the order in which they came. */
import { type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';

export class Turns {
  readonly #limit: number;
  readonly #waiting: PromiseWithResolvers<void>[] = [];
  #busy = 0;

  /** @param limit  works at once, at least 1 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Does the work when it is its turn. Rejects with the signal's reason when aborted before that. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const pass = await this.take(signal);
    try {
      return await work();
    } finally {
      await pass();
    }
  }

  /** Waits for a turn; it lasts until the function that it gives is called, once. */
  async take(signal: AbortSignal): Promise<() => Promise<void>> {
    await this.#turn(signal);
    return async () => this.#pass();
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#busy < this.#limit) {
      this.#busy += 1;
      return;
    }
    const mine = withResolvers<void>();
    this.#waiting.push(mine);
    try {
      await untilAborted(mine.promise, signal);
    } catch (cause) {
      const at = this.#waiting.indexOf(mine);
      if (at >= 0) this.#waiting.splice(at, 1);
      // It had been given the turn in the same moment: the next one gets it.
      else this.#pass();
      throw cause;
    }
  }

  /** The turn goes to the next one without becoming free in between. */
  #pass(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#busy -= 1;
    else next.resolve();
  }
}
