/** Lets through so many at once and so many bytes a second, in the order in which they came. */
import type { Clock } from './clock.ts';
import { Turns } from './turns.ts';

export interface ThrottleOptions {
  readonly clock: Clock;
  /** 0 = any number. */
  readonly bytesPerSecond: number;
  /** At least 1. */
  readonly atOnce: number;
}

/** What a quiet time has saved up counts for no more than this. */
const BURST_MS = 50;

export class Throttle {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #turns: Turns;
  /** When what was let through so far will have passed at the given rate. */
  #passedAt = 0;

  constructor({ clock, bytesPerSecond, atOnce }: ThrottleOptions) {
    this.#clock = clock;
    this.#bytesPerMs = bytesPerSecond / 1_000;
    this.#turns = new Turns(atOnce);
  }

  /**
   * Resolves when `bytes` may go, to what is to be called when they have gone, once.
   * Rejects with the signal's reason when it is aborted before that.
   */
  async take(bytes: number, signal: AbortSignal): Promise<() => void> {
    const pass = await this.turn(signal);
    try {
      await this.pace(bytes, signal);
      return pass;
    } catch (cause) {
      pass();
      throw cause;
    }
  }

  /** The first half of `take`: one of so many at once. */
  turn(signal: AbortSignal): Promise<() => void> {
    return this.#turns.take(signal);
  }

  /** The second half of `take`: resolves when `bytes` may go. */
  async pace(bytes: number, signal: AbortSignal): Promise<void> {
    const waitMs = this.charge(bytes);
    if (waitMs <= 0) return;
    try {
      await this.#clock.sleep(waitMs, signal);
    } catch (cause) {
      this.refund(bytes);
      throw cause;
    }
  }

  /** Bytes that go without asking: others wait for them. Returns how long they should have waited, in milliseconds. */
  charge(bytes: number): number {
    if (this.#bytesPerMs === 0) return 0;
    const now = this.#clock.now();
    const at = Math.max(now - BURST_MS, this.#passedAt);
    this.#passedAt = at + bytes / this.#bytesPerMs;
    return at - now;
  }

  /** How long what was let through has still to go, in milliseconds; 0 = nothing. */
  get aheadMs(): number {
    return this.#bytesPerMs === 0 ? 0 : Math.max(0, this.#passedAt - this.#clock.now());
  }

  /** Bytes that were let through and did not go: others may go for them. */
  refund(bytes: number): void {
    if (this.#bytesPerMs > 0) this.#passedAt -= bytes / this.#bytesPerMs;
  }
}
