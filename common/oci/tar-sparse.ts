/**
 * Sparse files in tar archives: where the bytes that an archive has of a file lie in it; the rest is holes.
 * Source: GNU tar manual, "Storing Sparse Files": the old GNU format, and PAX formats 0.0, 0.1 and 1.0.
 */
import { numberAt } from './tar-header.ts';

/** Bytes that are there, from `offset` on. */
export interface Extent {
  readonly offset: number;
  readonly size: number;
}

export interface SparseFile {
  /** Bytes of the whole file. */
  readonly size: number;
  /** Ascending, none overlaps another or is empty. Their bytes follow one another in the archive. */
  readonly extents: readonly Extent[];
}

/** More pieces are no file that a sound tool packed; each costs a write. */
export const EXTENTS_MAX = 100_000;

const OLD_IN_HEADER = { start: 386, count: 4, more: 482 } as const;
const OLD_IN_BLOCK = { start: 0, count: 21, more: 504 } as const;
const OLD_REAL_SIZE = 483;

/** What the old GNU format says in the header itself; pairs of numbers, and whether blocks with more of them follow. */
export function oldMap(header: Buffer): {
  readonly size: number;
  readonly numbers: number[];
  readonly hasMore: boolean;
} {
  const { numbers, hasMore } = oldPairs(header, OLD_IN_HEADER);
  return { size: numberAt(header, OLD_REAL_SIZE, 12), numbers, hasMore };
}

/** The same of a block that follows. */
export function oldMapBlock(block: Buffer): { readonly numbers: number[]; readonly hasMore: boolean } {
  return oldPairs(block, OLD_IN_BLOCK);
}

function oldPairs(
  block: Buffer,
  { start, count, more }: { readonly start: number; readonly count: number; readonly more: number },
): { readonly numbers: number[]; readonly hasMore: boolean } {
  const numbers: number[] = [];
  for (let pair = 0; pair < count; pair += 1) {
    const at = start + pair * 24;
    if (block[at + 12] === 0) break;
    numbers.push(numberAt(block, at, 12), numberAt(block, at + 12, 12));
  }
  return { numbers, hasMore: block[more] !== 0 };
}

/** The numbers of a text, each as decimal digits; undefined when one is not. */
export function decimals(texts: readonly string[]): number[] | undefined {
  const numbers: number[] = [];
  for (const each of texts) {
    if (!/^\d{1,16}$/.test(each)) return undefined;
    numbers.push(Number(each));
  }
  return numbers;
}

/** PAX 1.0 puts the map before the bytes: how many pairs, then each number, a line each, filled up to a block. */
export class MapInBody {
  /** The count first. */
  readonly #numbers: number[] = [];
  #digits = '';

  /** Takes the next block of the body; the pairs once all are there. Undefined: not yet. 'broken': no such map. */
  take(block: Buffer): readonly number[] | 'broken' | undefined {
    for (const byte of block) {
      if (byte === 0x0a) {
        const number = decimals([this.#digits])?.[0];
        if (number === undefined) return 'broken';
        this.#digits = '';
        this.#numbers.push(number);
        const count = this.#numbers[0] as number;
        if (count > EXTENTS_MAX) return 'broken';
        if (this.#numbers.length === count * 2 + 1) return this.#numbers.slice(1);
      } else if (byte < 0x30 || byte > 0x39 || this.#digits.length > 16) {
        return 'broken';
      } else {
        this.#digits += String.fromCharCode(byte);
      }
    }
    return undefined;
  }
}

/** A file of `size` bytes with these pairs of offset and size; undefined when they are no map of it, or its bytes are not `stored` many. */
export function sparseFile(size: number, pairs: readonly number[], stored: number): SparseFile | undefined {
  if (!Number.isSafeInteger(size) || size < 0 || pairs.length % 2 !== 0 || pairs.length > EXTENTS_MAX * 2)
    return undefined;
  const extents: Extent[] = [];
  let end = 0;
  let sum = 0;
  for (let at = 0; at < pairs.length; at += 2) {
    const offset = pairs[at] as number;
    const bytes = pairs[at + 1] as number;
    if (!(offset >= end && bytes >= 0 && offset + bytes <= size)) return undefined;
    end = offset + bytes;
    sum += bytes;
    if (bytes > 0) extents.push({ offset, size: bytes });
  }
  return sum === stored ? { size, extents } : undefined;
}
