import { describe, expect, it } from 'vitest';
import { PieceSet } from '../../../../common/oci/cut.ts';
import { Origin } from '../../../../manager/mesh/origin.ts';

const ALL = PieceSet.whole(3);
const CALM = { isSpread: false, isUrgent: false };
const URGENT = { isSpread: false, isUrgent: true };
const only = (...indices: readonly number[]): PieceSet => {
  const set = new PieceSet(3);
  for (const index of indices) set.add(index);
  return set;
};
const first = () => 0;

describe('a manager gives', () => {
  it('each piece to one node, and then none', () => {
    const origin = new Origin(3);
    const given = ['a', 'b', 'c', 'd'].map((node) => origin.give(node, ALL, CALM, first));
    expect(given).toEqual([0, 1, 2, undefined]);
  });

  it('nothing while another node has the whole blob', () => {
    expect(new Origin(3).give('a', ALL, { isSpread: true, isUrgent: false }, first)).toBeUndefined();
  });

  it('a piece again whose node has left with it', () => {
    const origin = new Origin(3);
    for (const node of ['a', 'b', 'c']) origin.give(node, ALL, CALM, first);
    origin.left('b');
    expect(origin.give('d', ALL, CALM, first)).toBe(1);
    expect(origin.give('d', ALL, CALM, first)).toBeUndefined();
  });

  it('a piece again that did not arrive', () => {
    const origin = new Origin(3);
    origin.give('a', only(1), CALM, first);
    origin.takeBack('a', 1);
    origin.takeBack('a', 1);
    expect(origin.give('b', only(1), CALM, first)).toBe(1);
    expect(origin.give('c', only(1), CALM, first)).toBeUndefined();
  });

  it('to a node that gets nothing from others what the fewest have', () => {
    const origin = new Origin(3);
    for (const index of [0, 2]) origin.give('a', only(index), CALM, first);
    expect(origin.give('b', ALL, URGENT, first)).toBe(1);
    expect(origin.give('b', ALL, URGENT, first)).toBe(0);
    expect(origin.give('b', only(2), { isSpread: true, isUrgent: true }, first)).toBe(2);
  });
});
