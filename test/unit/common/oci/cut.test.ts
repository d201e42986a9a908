import { describe, expect, it } from 'vitest';
import { checkedList, countOf, cutOf, hashOf, lengthOf, PIECE_BYTES, PieceSet } from '../../../../common/oci/cut.ts';

const setOf = (count: number, ...indices: readonly number[]): PieceSet => {
  const set = new PieceSet(count);
  for (const index of indices) set.add(index);
  return set;
};

describe('a blob cut into pieces', () => {
  it('has equal pieces but for the last', () => {
    const cut = cutOf(2.5 * PIECE_BYTES);
    expect(countOf(cut)).toBe(3);
    expect([0, 1, 2].map((index) => lengthOf(cut, index))).toEqual([PIECE_BYTES, PIECE_BYTES, PIECE_BYTES / 2]);
    expect(countOf(cutOf(0))).toBe(0);
  });

  it('has larger pieces rather than more than 8,192', () => {
    expect(countOf(cutOf(64 * 2 ** 30))).toBe(8_192);
  });

  it('is believed only when hashes, size and cut fit together', () => {
    const list = { ...cutOf(3 * PIECE_BYTES), hashes: new Uint8Array(96).fill(7) };
    expect(checkedList(list, 3 * PIECE_BYTES)).toBe(list);
    expect(hashOf(list, 2)).toHaveLength(32);
    for (const wrong of [
      { ...list, hashes: new Uint8Array(95) },
      { ...list, pieceBytes: 0 },
      { ...list, pieceBytes: 1 },
      { ...list, pieceBytes: 2 ** 40 },
      { ...list, size: 1 },
    ])
      expect(() => checkedList(wrong, 3 * PIECE_BYTES)).toThrow('does not fit');
  });
});

describe('a set of pieces', () => {
  it('knows what is in it, what lacks and where its beginning ends', () => {
    const set = setOf(10, 0, 1, 9);
    expect([set.size, set.head, set.isWhole]).toEqual([3, 2, false]);
    expect(set.lacking.size).toBe(7);
    expect(set.lacking.has(9)).toBe(false);
    expect(PieceSet.whole(10).isWhole).toBe(true);
  });

  it('takes no piece twice and none that there is not', () => {
    const set = setOf(10, 3);
    for (const index of [3, 10, -1, 0.5, Number.NaN]) expect(set.add(index)).toBe(false);
    expect(set.size).toBe(1);
  });

  it('is the same after it has travelled, whatever comes with it', () => {
    const set = setOf(10, 0, 9);
    expect(new PieceSet(10, set.bits).bits).toEqual(set.bits);
    expect(new PieceSet(10, new Uint8Array(1_000).fill(0xff)).size).toBe(10);
    expect(new PieceSet(10, new Uint8Array(0)).size).toBe(0);
  });
});
