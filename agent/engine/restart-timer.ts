/** The next restart of a container, while it is waited for. */
import type { Clock } from '../../common/clock.ts';
import { DELAY_MAX_MS } from './restart-policy.ts';

export class RestartTimer {
  readonly #clock: Clock;
  #cancel: (() => void) | undefined;
  #lastDelayMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** One is waited for. */
  get isSet(): boolean {
    return this.#cancel !== undefined;
  }

  /** How long was waited for the last one; 0 = there was none since a user started it. */
  get lastDelayMs(): number {
    return this.#lastDelayMs;
  }

  /** Calls `due` after that; it is set until `due` has said `begun`, or `forget`. */
  set(delayMs: number, due: () => void): void {
    this.#cancel?.();
    this.#lastDelayMs = delayMs;
    this.#cancel = this.#clock.after(delayMs, due);
  }

  /** Once more, after twice as long. */
  setAgain(due: () => void): void {
    this.set(Math.min(this.#lastDelayMs * 2, DELAY_MAX_MS), due);
  }

  /** The restart is under way. */
  begun(): void {
    this.#cancel = undefined;
  }

  /** There is to be none. */
  forget(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** A user starts it: what was before does not count. */
  reset(): void {
    this.forget();
    this.#lastDelayMs = 0;
  }
}
