import { describe, expect, it } from 'vitest';
import { NEIGHBOURS_MAX, nextNeighbours, nextWish, WINDOW } from '../../../../agent/mesh/choice.ts';
import { PieceSet } from '../../../../common/oci/cut.ts';

const COUNT = 200;
const of = (...indices: readonly number[]): PieceSet => {
  const set = new PieceSet(COUNT);
  for (const index of indices) set.add(index);
  return set;
};
const neighbour = (id: string, has: PieceSet, underway = 0) => ({ id, has, underway });
/** Never the one wish in eight that is for any piece; then the first of equals. */
const first = () => 0.5;
const lowest = (): (() => number) => {
  const values = [0.5, 0];
  return () => values.shift() ?? 0;
};

describe('the next piece', () => {
  it('is the rarest that somebody who is free has', () => {
    const neighbours = [neighbour('a', of(1, 2)), neighbour('b', of(2, 3)), neighbour('c', of(1, 2))];
    expect(nextWish({ has: of(0), underway: new Set(), neighbours }, first)).toEqual({ id: 'b', index: 3 });
  });

  it('is asked of the one with the least to do', () => {
    const neighbours = [neighbour('a', of(1), 1), neighbour('b', of(1), 0)];
    expect(nextWish({ has: of(0), underway: new Set(), neighbours }, first)?.id).toBe('b');
  });

  it('is none that is here, or asked for, or that only those have who give enough already', () => {
    const neighbours = [neighbour('a', of(0, 1)), neighbour('b', of(2), 2)];
    expect(nextWish({ has: of(0), underway: new Set([1]), neighbours }, first)).toBeUndefined();
  });

  it('lies within a window behind what the unpacker reads', () => {
    const far = of(0, WINDOW + 5);
    const neighbours = [neighbour('a', far)];
    expect(nextWish({ has: of(), underway: new Set([0]), neighbours }, first)).toBeUndefined();
    const has = of(0, 1, 2, 3, 4, 5);
    expect(nextWish({ has, underway: new Set(), neighbours }, first)).toEqual({ id: 'a', index: WINDOW + 5 });
  });

  it('is now and then any, so that neighbours do not all run after the same one', () => {
    const neighbours = [neighbour('a', of(1, 2)), neighbour('b', of(1))];
    expect(nextWish({ has: of(0), underway: new Set(), neighbours }, () => 0)).toEqual({ id: 'a', index: 1 });
    expect(nextWish({ has: of(0), underway: new Set(), neighbours }, lowest())).toEqual({ id: 'a', index: 2 });
  });
});

describe('the nodes to talk to', () => {
  const candidate = (id: string, isNear = false, isWhole = false) => ({ id, isNear, isWhole });

  it('are those first to whom there is a connection', () => {
    const candidates = [candidate('a'), candidate('b', true), candidate('c')];
    expect(nextNeighbours([], candidates, first)[0]).toBe('b');
  });

  it('are no more than so many, and of those that have all of it a few', () => {
    const many = Array.from({ length: 40 }, (_, at) => candidate(`n${at}`));
    expect(nextNeighbours([], many, first)).toHaveLength(NEIGHBOURS_MAX);
    expect(nextNeighbours([{ isWhole: false }], many, first)).toHaveLength(NEIGHBOURS_MAX - 1);
    const whole = many.map((each) => ({ ...each, isWhole: true }));
    expect(nextNeighbours([], whole, first)).toHaveLength(4);
    expect(nextNeighbours(Array(4).fill({ isWhole: true }), whole, first)).toEqual([]);
  });
});
