import { describe, expect, it } from 'vitest';
import {
  bytesToFree,
  type Held,
  inTurn,
  isPressed,
  type PruneWish,
  shareOf,
  toPrune,
} from '../../../../agent/disk/marks.ts';

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

describe('what a user is rid of', () => {
  const wish = { kinds: [], until: 0, unshared: false, keepBytes: 0 };
  const thing = (id: string, more: Partial<Held> = {}): Held => {
    return { kind: 'build-cache', id, name: id, bytes: 10, usedAt: 0, worth: 'spare', ...more };
  };
  const held = [
    thing('image', { kind: 'image' }),
    thing('old', { usedAt: 1 }),
    thing('shared', { usedAt: 2, bytes: 0, isShared: true }),
    thing('needed', { usedAt: 3, worth: 'needed' }),
    thing('asked', { usedAt: 4, worth: 'asked' }),
    thing('new', { usedAt: 5 }),
  ];
  const gone = (more: Partial<PruneWish>): string =>
    toPrune(held, { ...wish, ...more })
      .map(({ id }) => id)
      .join(' ');

  it('is all that nobody needs', () => expect(gone({})).toBe('image old shared asked new'));
  it('may be of some kinds only', () => expect(gone({ kinds: ['image'] })).toBe('image'));
  it('may be what was not used lately', () => expect(gone({ until: 4 })).toBe('image old shared'));
  it('may be without what something else has too', () => expect(gone({ unshared: true })).toBe('image old asked new'));
  it('leaves so much of the newest as is to stay', () => {
    expect(gone({ kinds: ['build-cache'], keepBytes: 30 })).toBe('old');
    expect(gone({ kinds: ['build-cache'], keepBytes: 29 })).toBe('old shared asked');
    expect(gone({ kinds: ['build-cache'], keepBytes: 40 })).toBe('');
  });
});
