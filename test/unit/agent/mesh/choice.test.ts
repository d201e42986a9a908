import { describe, expect, it } from 'vitest';
import {
  LINES_MAX,
  NEIGHBOURS_MAX,
  nextInRing,
  nextLines,
  nextNeighbours,
  nextPiece,
  patienceMs,
  STRANGERS_MAX,
  WINDOW,
} from '../../../../agent/mesh/choice.ts';
import { PieceSet } from '../../../../common/oci/cut.ts';

const COUNT = 200;
const of = (...indices: readonly number[]): PieceSet => {
  const set = new PieceSet(COUNT);
  for (const index of indices) set.add(index);
  return set;
};
const neighbour = (id: string, has: PieceSet) => ({ id, has });
/** Never the one piece in eight that is any; then the first of equals. */
const first = (): (() => number) => {
  const values = [0.5];
  return () => values.shift() ?? 0;
};

describe('the next piece from a neighbour', () => {
  it('is the rarest that it has, as far as this node sees', () => {
    const a = neighbour('a', of(1, 2, 3));
    const neighbours = [a, neighbour('b', of(1, 3)), neighbour('c', of(1))];
    expect(nextPiece({ has: of(0), underway: new Set(), neighbours }, a, first())).toBe(2);
  });

  it('is none that is here or on its way', () => {
    const a = neighbour('a', of(0, 1));
    const situation = { has: of(0), underway: new Set([1]), neighbours: [a] };
    expect(nextPiece(situation, a, first())).toBeUndefined();
    expect(nextLines(situation, { idle: [a], waiting: 0 }, () => 0)).toEqual([]);
    expect(nextLines({ ...situation, underway: new Set() }, { idle: [a], waiting: 0 }, () => 0)).toEqual([a]);
  });

  it('is waited for at a few neighbours, not at all of them', () => {
    const idle = Array.from({ length: 8 }, (_, at) => neighbour(`n${at}`, of(1)));
    const situation = { has: of(0), underway: new Set<number>(), neighbours: idle };
    expect(nextLines(situation, { idle, waiting: 0 }, () => 0)).toHaveLength(LINES_MAX);
    expect(nextLines(situation, { idle, waiting: LINES_MAX }, () => 0)).toEqual([]);
  });

  it('lies within a window behind what the unpacker reads', () => {
    const a = neighbour('a', of(0, WINDOW + 5));
    const situation = { has: of(), underway: new Set([0]), neighbours: [a] };
    expect(nextPiece(situation, a, first())).toBeUndefined();
    expect(nextPiece({ ...situation, has: of(0, 1, 2, 3, 4, 5) }, a, first())).toBe(WINDOW + 5);
  });

  it('is now and then any, so that neighbours do not all run after the same one', () => {
    const a = neighbour('a', of(1, 2));
    const situation = { has: of(0), underway: new Set<number>(), neighbours: [a, neighbour('b', of(1))] };
    expect(nextPiece(situation, a, () => 0)).toBe(1);
    expect(nextPiece(situation, a, first())).toBe(2);
  });
});

describe('the nodes to talk to', () => {
  const candidate = (id: string, isNear = false, isWhole = false) => ({ id, isNear, isWhole, isNext: false });

  it('are those first to whom there is a connection', () => {
    const candidates = [candidate('a'), candidate('b', true), candidate('c')];
    expect(nextNeighbours([], candidates, () => 0.5)[0]).toBe('b');
  });

  it('are no more than so many, and of those that have all of it a few', () => {
    const many = Array.from({ length: 40 }, (_, at) => ({ ...candidate(`n${at}`), isNear: true }));
    expect(nextNeighbours([], many, () => 0.5)).toHaveLength(NEIGHBOURS_MAX);
    expect(nextNeighbours([{ isWhole: false }], many, () => 0.5)).toHaveLength(NEIGHBOURS_MAX - 1);
    const whole = many.map((each) => ({ ...each, isWhole: true }));
    expect(nextNeighbours([], whole, () => 0.5)).toHaveLength(4);
    expect(nextNeighbours(Array(4).fill({ isWhole: true }), whole, () => 0.5)).toEqual([]);
  });

  it('are in any case the next in the ring, so that nobody is left out', () => {
    const candidates = [candidate('a', true), { ...candidate('b'), isNext: true }, candidate('c')];
    expect(nextNeighbours([], candidates, () => 0.5)[0]).toBe('b');
    const enough = Array(STRANGERS_MAX).fill({ isWhole: false });
    expect(nextNeighbours(enough, candidates, () => 0.5)).toEqual(['b', 'a']);
    const ids = ['n3', 'n1', 'n2'];
    expect(ids.map((id) => nextInRing(id, ids))).toEqual(['n1', 'n2', 'n3']);
    expect(nextInRing('n1', ['n1'])).toBeUndefined();
  });

  it('are strangers only as far as there are too few', () => {
    const strangers = Array.from({ length: 40 }, (_, at) => candidate(`n${at}`));
    expect(nextNeighbours([], strangers, () => 0.5)).toHaveLength(STRANGERS_MAX);
    const enough = Array(STRANGERS_MAX).fill({ isWhole: false });
    expect(nextNeighbours(enough, strangers, () => 0.5)).toEqual([]);
    const near = { ...candidate('near'), isNear: true };
    expect(nextNeighbours(enough, [...strangers, near], () => 0.5)).toEqual(['near']);
  });
});

describe('a manager that would rather not give', () => {
  const pace = { isAlone: false, isInLine: false, gapMs: undefined };

  it('is asked at once by who has nobody else, soon by who hears nothing, later by who waits in line', () => {
    expect(patienceMs({ ...pace, isAlone: true })).toBeLessThan(patienceMs(pace));
    expect(patienceMs(pace)).toBeLessThan(patienceMs({ ...pace, isInLine: true }));
  });

  it('is left alone for longer by who gets something from others, if slowly, but not for ever', () => {
    expect(patienceMs({ ...pace, gapMs: 100 })).toBe(patienceMs(pace));
    expect(patienceMs({ ...pace, gapMs: 1_000 })).toBe(5_000);
    expect(patienceMs({ ...pace, gapMs: 60_000 })).toBe(15_000);
    expect(patienceMs({ ...pace, isAlone: true, gapMs: 60_000 })).toBeLessThan(1_000);
  });
});
