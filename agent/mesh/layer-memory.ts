/**
 * Memory in which layers are read, hashed and written, lent and used again: memory of its own for each mebibyte would have the collector
 * run every few dozen of them. A source lends what it yields until it is asked for more; who needs it for longer keeps it.
 */
import { type Clock, systemClock } from '../../common/clock.ts';
import { PIECE_BYTES } from '../../common/oci/cut.ts';
import type { Lender } from '../../common/oci/pieces.ts';
import { PieceMemory } from './piece-memory.ts';

export class LayerMemory implements Lender {
  readonly bytesEach = PIECE_BYTES;
  readonly #memory: PieceMemory;
  /** Of what is lent: how many need it. What nobody gives back is the collector's. */
  readonly #users = new WeakMap<ArrayBufferLike, number>();

  constructor(clock: Clock) {
    this.#memory = new PieceMemory(clock);
  }

  /** Memory with anything in it; its first user is the caller. */
  take(length: number): Buffer {
    const bytes = this.#memory.take(length);
    this.#users.set(bytes.buffer, 1);
    return bytes;
  }

  /** One more needs these bytes. Bytes that are not lent are left alone. */
  keep({ buffer }: Uint8Array): void {
    const users = this.#users.get(buffer);
    if (users !== undefined) this.#users.set(buffer, users + 1);
  }

  /** One who needed them does no more. */
  release(bytes: Uint8Array): void {
    const users = this.#users.get(bytes.buffer);
    if (users === undefined) return;
    if (users > 1) {
      this.#users.set(bytes.buffer, users - 1);
      return;
    }
    this.#users.delete(bytes.buffer);
    this.#memory.give(bytes);
  }
}

/** One for all layers of the process. */
export const LAYER_MEMORY = new LayerMemory(systemClock);
