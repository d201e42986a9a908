/**
 * Memory of pieces, used again and again. Memory of its own for each would be a mebibyte of garbage a piece, and the collector,
 * which looks at all else that the process has, would run after every few dozen.
 */
import type { Clock } from '../../common/clock.ts';
import { PIECE_BYTES } from '../../common/oci/cut.ts';

/** What is kept for the next pieces, at most. */
const FREE_MAX = 32;
/** Nobody has wanted any for so long: it goes back to the system. */
const IDLE_MS = 10_000;

export class PieceMemory {
  readonly #clock: Clock;
  readonly #lent = new WeakSet<ArrayBufferLike>();
  #free: ArrayBufferLike[] = [];
  #takes = 0;
  #isWatched = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Memory with anything in it, of so many bytes. What is not given back is the collector's. */
  take(length: number): Buffer {
    // Only blobs of more than 8 GiB have larger pieces.
    if (length > PIECE_BYTES) return Buffer.allocUnsafeSlow(length);
    this.#takes += 1;
    const whole = this.#free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES).buffer;
    this.#lent.add(whole);
    return Buffer.from(whole, 0, length);
  }

  /** Nobody reads it any more. What is not from here, or was given back, is left alone. */
  give({ buffer }: Uint8Array): void {
    if (!this.#lent.delete(buffer) || this.#free.length >= FREE_MAX) return;
    this.#free.push(buffer);
    if (!this.#isWatched) this.#watch();
  }

  #watch(): void {
    const takes = this.#takes;
    this.#isWatched = true;
    this.#clock.after(IDLE_MS, () => {
      this.#isWatched = false;
      if (this.#takes === takes) this.#free = [];
      else if (this.#free.length > 0) this.#watch();
    });
  }
}
