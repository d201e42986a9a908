import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DETACH_KEYS, DetachKeys, parseDetachKeys } from '../../../cli/detach-keys.ts';

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
const text = (given: Uint8Array): string => Buffer.from(given).toString('latin1');

/** What goes on when `pieces` are typed one after the other; `!` marks the detaching. */
function typed(keys: string, ...pieces: readonly string[]): string {
  const machine = new DetachKeys(parseDetachKeys(keys));
  let all = '';
  for (const piece of pieces) {
    const { bytes: passed, isDetached } = machine.type(bytes(piece));
    all += text(passed);
    if (isDetached) return `${all}!`;
  }
  return all;
}

describe('detach keys', () => {
  it('are Docker’s words for bytes', () => {
    expect([...parseDetachKeys(DETACH_KEYS)]).toEqual([16, 17]);
    expect([...parseDetachKeys('a,ctrl-[,ctrl-_,ctrl-@')]).toEqual([97, 27, 31, 0]);
    for (const bad of ['', 'ab', 'ctrl-1', 'ctrl-', 'a,,b', 'ctrl-p, ctrl-q']) {
      expect(() => parseDetachKeys(bad), bad).toThrow(/is no key/);
    }
  });

  it('detach when the sequence is whole, also over several reads, and drop what follows', () => {
    expect(typed(DETACH_KEYS, 'ab\u0010\u0011cd')).toBe('ab!');
    expect(typed(DETACH_KEYS, 'ab\u0010', '\u0011')).toBe('ab!');
  });

  it('hold a begun sequence back and pass it on when it is another', () => {
    expect(typed(DETACH_KEYS, '\u0010')).toBe('');
    expect(typed(DETACH_KEYS, '\u0010', 'x')).toBe('\u0010x');
    expect(typed(DETACH_KEYS, '\u0010\u0010', '\u0011')).toBe('\u0010!');
    expect(typed('a,a,b', 'aaab')).toBe('a!');
  });

  it('lose and add nothing, however it is cut', () => {
    const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 }).map((each) => each.join(''));
    fc.assert(
      fc.property(fc.array(letters), (pieces) => {
        const whole = pieces.join('');
        const at = whole.indexOf('aab');
        const passed = typed('a,a,b', ...pieces);
        if (at >= 0) expect(passed).toBe(`${whole.slice(0, at)}!`);
        else expect(whole.startsWith(passed) && whole.length - passed.length <= 2).toBe(true);
      }),
    );
  });
});
