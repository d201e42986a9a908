/** A blob cut into pieces that are proved one by one, and sets of such pieces as they travel. */
import { ClusterError } from '../errors.ts';
import { BLOB_BYTES_MAX } from './manifest.ts';

/** Small enough that a host hands it on while the rest arrives, large enough that messages cost little (ADR 0022). */
export const PIECE_BYTES = 1024 * 1024;
/** Pieces of a blob; a larger blob has larger pieces, so that lists and sets stay small. */
const PIECES_MAX = 8_192;
/** No piece is larger. */
export const PIECE_BYTES_MAX = BLOB_BYTES_MAX / PIECES_MAX;
const HASH_BYTES = 32;

/** Where a blob is cut. */
export interface Cut {
  readonly size: number;
  readonly pieceBytes: number;
}

/** A cut with what each piece has to be. */
export interface PieceList extends Cut {
  /** SHA-256 of each piece, one after another. */
  readonly hashes: Uint8Array;
}

/** How a blob of so many bytes is cut: everybody cuts it alike. */
export function cutOf(size: number): Cut {
  let pieceBytes = PIECE_BYTES;
  while (Math.ceil(size / pieceBytes) > PIECES_MAX) pieceBytes *= 2;
  return { size, pieceBytes };
}

/** How many pieces there are. */
export function countOf({ size, pieceBytes }: Cut): number {
  return Math.ceil(size / pieceBytes);
}

/** Bytes of piece `index`. */
export function lengthOf({ size, pieceBytes }: Cut, index: number): number {
  return Math.min(pieceBytes, size - index * pieceBytes);
}

/** SHA-256 that piece `index` must have. */
export function hashOf({ hashes }: PieceList, index: number): Uint8Array {
  return hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
}

/**
 * The cut that another process tells of.
 * @throws ClusterError `invalid` when it is none, is not of `size` bytes, or its hashes do not fit
 */
export function checkedList(list: PieceList, size: number): PieceList {
  const { pieceBytes, hashes } = list;
  const isCut = Number.isInteger(pieceBytes) && pieceBytes >= 1 && pieceBytes <= PIECE_BYTES_MAX;
  if (isCut && list.size === size && hashes.length === countOf(list) * HASH_BYTES && countOf(list) <= PIECES_MAX) {
    return list;
  }
  throw new ClusterError('invalid', `a list of pieces does not fit a blob of ${size} bytes`);
}

/** Which pieces of a cut somebody has. */
export class PieceSet {
  readonly count: number;
  readonly #bits: Uint8Array;
  #size = 0;

  /** @param bits  piece i is bit i % 8 of byte i / 8; bits beyond the last piece count for nothing */
  constructor(count: number, bits: Uint8Array = new Uint8Array(0)) {
    this.count = count;
    this.#bits = new Uint8Array(Math.ceil(count / 8));
    for (let index = 0; index < count; index += 1)
      if (((bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0) this.add(index);
  }

  /** All of them. */
  static whole(count: number): PieceSet {
    return new PieceSet(count, new Uint8Array(Math.ceil(count / 8)).fill(0xff));
  }

  /** How many are in it. */
  get size(): number {
    return this.#size;
  }

  get isWhole(): boolean {
    return this.#size === this.count;
  }

  /** As it travels. Not to be written to. */
  get bits(): Uint8Array {
    return this.#bits;
  }

  has(index: number): boolean {
    return ((this.#bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  /** False when it was in it, or is no piece. */
  add(index: number): boolean {
    if (!Number.isInteger(index) || index < 0 || index >= this.count || this.has(index)) return false;
    this.#bits[index >> 3] = (this.#bits[index >> 3] ?? 0) | (1 << (index & 7));
    this.#size += 1;
    return true;
  }

  /** The others. */
  get lacking(): PieceSet {
    return new PieceSet(
      this.count,
      this.#bits.map((byte) => ~byte),
    );
  }

  /** The lowest that is not in it; `count` when none. */
  get head(): number {
    let index = 0;
    while (index < this.count && this.has(index)) index += 1;
    return index;
  }
}
