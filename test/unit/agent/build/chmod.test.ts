import { expect, it } from 'vitest';
import { chmodded, modeOf } from '../../../../agent/build/dockerfile/chmod.ts';

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

it.each([
  // Checked with GNU chmod.
  ['0644', 0o755, '0644'],
  ['4755', 0o644, '4755'],
  ['0', 0o777, '0000'],
  ['u+x', 0o644, '0744'],
  ['+x', 0o644, '0755'],
  ['a+x', 0o644, '0755'],
  ['-w', 0o666, '0444'],
  ['go-rwx', 0o755, '0700'],
  ['u=rwx,go=rx', 0o600, '0755'],
  ['u=rw,go=', 0o777, '0600'],
  ['a=', 0o777, '0000'],
  ['g=u', 0o640, '0660'],
  ['o=g', 0o640, '0644'],
  ['o+u', 0o700, '0707'],
  ['a+X', 0o644, '0644'],
  ['a+X', 0o744, '0755'],
  ['u+s', 0o755, '4755'],
  ['g+s', 0o755, '2755'],
  ['ug+s', 0o755, '6755'],
  ['u-s', 0o4755, '0755'],
  ['+t', 0o777, '1777'],
  ['-t', 0o1777, '0777'],
  ['u=rw', 0o4755, '0655'],
  ['u+x-w', 0o644, '0544'],
  ['u=r,u+w', 0o777, '0677'],
])('%s makes %o to %s', (text, before, after) => expect(octal(chmodded(modeOf(text), before, false))).toBe(after));

it('X means folders too', () => expect(octal(chmodded(modeOf('go+X'), 0o700, true))).toBe('0711'));

it.each(['', '8', '10000', '77777', 'x', 'u', 'u+', 'u+q', 'u+r,', ',u+r', 'u r', '-', '0o644'])(
  'refuses %j or makes nothing of it',
  (text) => {
    // `u+` is a clause without letters: POSIX lets it change nothing.
    if (text === 'u+' || text === '-') expect(chmodded(modeOf(text), 0o644, false)).toBe(0o644);
    else expect(() => modeOf(text)).toThrow('invalid chmod parameter');
  },
);
