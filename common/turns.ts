/** Lets a few work at a time; the others wait in the order in which they came. */
import { type PromiseWithResolvers, untilAborted, withResolvers } from './iterate.ts';

export class Turns {
  readonly #limit: number;
  readonly #waiting: PromiseWithResolvers<void>[] = [];
  #busy = 0;

  /** @param limit  works at once, at least 1 */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True while nobody works or waits. */
  get isFree(): boolean {
    return this.#busy === 0 && this.#waiting.length === 0;
  }

  /** Does the work when it is its turn. Rejects with the signal's reason when aborted before that. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const pass = await this.take(signal);
    try {
      return await work();
    } finally {
      pass();
    }
  }

  /** Resolves when it is one's turn, to what ends it, once. Rejects with the signal's reason when aborted before that. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#busy < this.#limit) this.#busy += 1;
    else await this.#wait(signal);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#pass();
    };
  }

  async #wait(signal: AbortSignal): Promise<void> {
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
