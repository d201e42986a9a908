import { describe, expect, it } from 'vitest';
import { bytesToFree, type Held, inTurn, isPressed, shareOf } from '../../../../agent/disk/marks.ts';

const MARKS = { high: 80, low: 70, pressure: 90 };
const used = (percent: number) => ({ usedBytes: percent * 10, freeBytes: (100 - percent) * 10 });

describe('the share of a disk', () => {
  it('is what df shows', () => expect(shareOf(used(42))).toBe(42));
  it('of no disk is nothing', () => expect(shareOf({ usedBytes: 0, freeBytes: 0 })).toBe(0));
});

describe('room', () => {
  it.each([
    [70, 0],
    [80, 0],
    [81, 110],
    [100, 300],
  ])('at %i % is made for %i of 1,000 bytes', (percent, bytes) => {
    expect(bytesToFree(used(percent), MARKS)).toBe(bytes);
  });
});

describe('pressure', () => {
  it('begins above its mark and ends at the high one', () => {
    const seen: boolean[] = [];
    let was = false;
    for (const percent of [79, 85, 90, 91, 85, 81, 80, 85, 95]) {
      was = isPressed(used(percent), MARKS, was);
      seen.push(was);
    }
    expect(seen).toEqual([false, false, false, true, true, true, false, false, true]);
  });
});

describe('what goes', () => {
  const held = (kind: Held['kind'], usedAt: number): Held => ({
    kind,
    id: `${kind}${usedAt}`,
    name: '',
    bytes: 10,
    usedAt,
    worth: 'spare',
  });
  const all = [held('build-cache', 1), held('image', 5), held('container', 9), held('image', 3), held('container', 2)];
  const ids = (list: readonly Held[]) => list.map(({ id }) => id);

  it('is dead containers first, then images, then the build cache, the longest unused first', () => {
    expect(ids(inTurn(all))).toEqual(['container2', 'container9', 'image3', 'image5', 'build-cache1']);
  });
});
