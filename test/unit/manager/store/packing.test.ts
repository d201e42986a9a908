import fc from 'fast-check';
import { expect, it } from 'vitest';
import { keyOf, pack, TRANSACTION_BYTES_MAX, UNITS_MAX, writes } from '../../../../manager/store/packing.ts';
import { check, put, remove, type Unit } from '../../../../manager/store/store.ts';
import { aTask } from '../../../support/objects.ts';

const unit = (...ids: string[]): Unit => ids.map((id) => put('task', id, aTask(id)));
const small = (): number => 300;

it('packs units that share no key into one transaction', () => {
  expect(pack([unit('a'), unit('b', 'c'), unit('d')], small)).toEqual([[[0, 1, 2]]]);
});

it('puts units that write one key into successive stages', () => {
  expect(pack([unit('a'), unit('a', 'b'), unit('c'), unit('b')], small)).toEqual([[[0, 2]], [[1]], [[3]]]);
});

it('lets units share a key that they only check', () => {
  expect(pack([[check('task', 'a', 1)], [check('task', 'a', 1)]], small)).toEqual([[[0, 1]]]);
});

it('keeps a check and a write of one key apart, whichever comes first', () => {
  expect(pack([[check('task', 'a', 1)], [remove('task', 'a')]], small)).toEqual([[[0]], [[1]]]);
  expect(pack([[remove('task', 'a')], [check('task', 'a', 1)]], small)).toEqual([[[0]], [[1]]]);
});

it('holds to the limits of operations and bytes', () => {
  const many = Array.from({ length: 200 }, (_, index) => unit(`t${index}`));
  expect(pack(many, small)[0]?.map((packed) => packed.length)).toEqual([UNITS_MAX, UNITS_MAX, 200 - 2 * UNITS_MAX]);
  const large = many.slice(0, 5);
  expect(pack(large, () => TRANSACTION_BYTES_MAX / 2)[0]?.map((packed) => packed.length)).toEqual([2, 2, 1]);
});

it('refuses a unit with more writes than fit', () => {
  expect(() => pack([unit(...Array.from({ length: 33 }, (_, index) => `t${index}`))], small)).toThrow(/33 writes/);
});

it('refuses a unit that writes one key twice', () => {
  expect(() => pack([unit('a', 'a')], small)).toThrow(/task\/a/);
});

it('packs every unit once, never a written key twice in a stage, and keeps the order of units on one key', () => {
  const ids = fc.constantFrom('a', 'b', 'c', 'd', 'e');
  const write = ids.map((id) => put('task', id, aTask(id)));
  const written = fc.uniqueArray(write, { selector: keyOf, maxLength: 2 });
  const checked = fc.array(
    ids.map((id) => check('task', id, 1)),
    { maxLength: 2 },
  );
  const units = fc.array(fc.tuple(written, checked).map(([puts, checks]): Unit => [...puts, ...checks]));
  fc.assert(
    fc.property(units, (planned) => {
      const stages = pack(planned, small);
      expect(stages.flat(2).sort((a, b) => a - b)).toEqual(planned.map((_, index) => index));
      const stageOf = new Map(stages.flatMap((stage, at) => stage.flat().map((index) => [index, at] as const)));
      for (const [later, unitB] of planned.entries()) {
        for (const [earlier, unitA] of planned.slice(0, later).entries()) {
          const touch = unitA.some((a) => unitB.some((b) => keyOf(a) === keyOf(b) && (writes(a) || writes(b))));
          if (touch) expect(stageOf.get(earlier)).toBeLessThan(stageOf.get(later) as number);
        }
      }
    }),
  );
});
