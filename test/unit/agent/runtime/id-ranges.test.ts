import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_POOL, freeRange, type IdPool, idPool, RANGE_SIZE } from '../../../../agent/runtime/id-ranges.ts';

const POOL: IdPool = { base: 100_000, count: 3 };
const at = (...numbers: readonly number[]) => numbers.map((n) => ({ base: POOL.base + n * RANGE_SIZE }));

describe('a free range', () => {
  it('is the lowest one', () => {
    expect(freeRange(POOL, [])).toEqual({ base: 100_000 });
    expect(freeRange(POOL, at(0))).toEqual({ base: 165_536 });
    expect(freeRange(POOL, at(2, 0))).toEqual({ base: 165_536 });
    expect(freeRange(POOL, at(1, 2))).toEqual({ base: 100_000 });
  });

  it('is none when all are taken', () => {
    expect(freeRange(POOL, at(2, 1, 0))).toBeUndefined();
  });

  it('touches none of an earlier pool either', () => {
    expect(freeRange(POOL, [{ base: 99_999 }])).toEqual({ base: 165_536 });
    expect(freeRange(POOL, [{ base: 100_001 }])).toEqual({ base: 231_072 });
    expect(freeRange(POOL, [{ base: 34_464 }])).toEqual({ base: 100_000 });
  });

  it('overlaps no taken one, whatever is taken, and is found while there is one', () => {
    const taken = fc.array(fc.record({ base: fc.integer({ min: 0, max: 600_000 }) }), { maxLength: 8 });
    fc.assert(
      fc.property(taken, (ranges) => {
        const found = freeRange(POOL, ranges);
        const hits = (base: number) => ranges.some((r) => r.base < base + RANGE_SIZE && base < r.base + RANGE_SIZE);
        const free = [0, 1, 2].map((n) => POOL.base + n * RANGE_SIZE).filter((base) => !hits(base));
        expect(found?.base).toBe(free[0]);
      }),
    );
  });
});

describe('the pool', () => {
  const none = { setting: '', subuid: '', subgid: '' };

  it('is the setting before what the host has set aside for covey, before the default', () => {
    const files = { subuid: 'root:1:2\ncovey:500000:200000\n', subgid: 'covey:500000:200000\n' };
    expect(idPool(none)).toEqual(DEFAULT_POOL);
    expect(idPool({ ...none, ...files })).toEqual({ base: 500_000, count: 3 });
    expect(idPool({ ...files, setting: '7:65536' })).toEqual({ base: 7, count: 1 });
  });

  it('is refused when it holds no container, the root, or ids that go backwards', () => {
    expect(() => idPool({ ...none, setting: '100000:65535' })).toThrow(
      'user-ids (100000:65535): 65535 ids are too few',
    );
    expect(() => idPool({ ...none, setting: '0:65536' })).toThrow("id 0 is the host's root");
    expect(() => idPool({ ...none, setting: '2147483647:65536' })).toThrow('beyond id 2147483647');
  });

  it('is refused when users and groups have other ranges', () => {
    expect(() => idPool({ ...none, subuid: 'covey:1:65536' })).toThrow('/etc/subgid');
    expect(() => idPool({ ...none, subuid: 'covey:1:65536', subgid: 'covey:2:65536' })).toThrow('/etc/subgid');
  });
});
