import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cut, plainLine, spread, widthOf } from '../../../cli/format/screen-text.ts';

describe('a line for a terminal', () => {
  it.each([
    ['plain', 'plain'],
    ['\u001b[31mred\u001b[0m', 'red'],
    ['\u001b]0;title\u0007text', 'text'],
    ['\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\', 'link'],
    ['10 %\r20 %\r30 %', '30 %'],
    ['done\r', 'done'],
    ['a\tb', 'a  b'],
    ['a\u0008\u0000\u009bb', 'ab'],
    ['\u001b[2J\u001b[Hx', 'x'],
    ['\u202egnp', 'gnp'],
    ['cut \u001b[3', 'cut '],
    ['cut \u001b', 'cut '],
  ])('of %j is %j', (text, shown) => expect(plainLine(text)).toBe(shown));

  it.each([
    ['abc', 3],
    ['日本', 4],
    ['e\u0301', 1],
    ['🚀', 2],
    ['', 0],
  ])('%s takes %i columns … %i', (text, columns) => expect(widthOf(text)).toBe(columns));

  it('is cut in front of a character that has no room', () => {
    expect(cut('abc', 3)).toBe('abc');
    expect(cut('abcd', 3)).toBe('ab…');
    expect(cut('日本語', 4)).toBe('日…');
    expect(cut('abc', 1)).toBe('…');
    expect(cut('abc', 0)).toBe('');
  });

  it('has its right end at the end', () => {
    expect(spread('left', '1.0s', 12)).toBe('left    1.0s');
    expect(spread('too long', '1.0s', 10)).toBe('too … 1.0s');
    expect(spread('left', '1.0s', 4)).toBe('left');
  });

  it('never moves the cursor and never is too wide', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (text, columns) => {
        const shown = spread(plainLine(text), '0.1s', columns);
        expect(shown).not.toMatch(/\p{Cc}/u);
        expect(widthOf(shown)).toBeLessThanOrEqual(columns);
      }),
    );
  });
});
