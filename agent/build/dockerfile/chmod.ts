/** The value of `--chmod`: octal, or symbolic as chmod(1) takes it. */
import { ClusterError } from '../../../common/errors.ts';
import type { Mode } from './steps.ts';

const CLAUSE = /^[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+$/;

/** @throws ClusterError `invalid` */
export function modeOf(text: string): Mode {
  if (/^[0-7]{1,5}$/.test(text) && Number.parseInt(text, 8) <= 0o7777)
    return { kind: 'octal', mode: Number.parseInt(text, 8) };
  if (text !== '' && text.split(',').every((clause) => CLAUSE.test(clause))) return { kind: 'symbolic', text };
  throw new ClusterError('invalid', `invalid chmod parameter: '${text}'`, {
    hint: 'write an octal mode from 0 to 7777, or one like u=rwx,go=rx',
  });
}

/**
 * The mode of one file after `--chmod`. `X` is execute for folders and for what anybody may execute already; without letters
 * before the sign all are meant. Source: chmod(1); POSIX, chmod, "Extended description".
 */
export function chmodded(mode: Mode, before: number, isFolder: boolean): number {
  if (mode.kind === 'octal') return mode.mode;
  return mode.text.split(',').reduce((now, clause) => clauseOn(clause, now, isFolder), before & 0o7777);
}

const SHIFT: Readonly<Record<string, number>> = { u: 6, g: 3, o: 0 };

function clauseOn(clause: string, before: number, isFolder: boolean): number {
  const who = /^[ugoa]*/.exec(clause)?.[0] ?? '';
  const classes = who === '' || who.includes('a') ? ['u', 'g', 'o'] : [...new Set(who)];
  let mode = before;
  for (const [, sign, letters = ''] of clause.slice(who.length).matchAll(/([-+=])([rwxXstugo]*)/g)) {
    const bits = classes.reduce(
      (all, each) => all | bitsFor(each, letters, mode, isFolder),
      letters.includes('t') ? 0o1000 : 0,
    );
    if (sign === '+') mode |= bits;
    else if (sign === '-') mode &= ~bits;
    else mode = (mode & ~maskOf(classes, who)) | bits;
  }
  return mode;
}

/** What `=` clears: the classes' permissions, and their set-id bits. The sticky bit is everybody's. */
function maskOf(classes: readonly string[], who: string): number {
  const everybody = who === '' || who.includes('a');
  return classes.reduce((all, each) => all | (7 << (SHIFT[each] ?? 0)) | setId(each), everybody ? 0o1000 : 0);
}

function setId(each: string): number {
  if (each === 'u') return 0o4000;
  return each === 'g' ? 0o2000 : 0;
}

function bitsFor(each: string, letters: string, mode: number, isFolder: boolean): number {
  const shift = SHIFT[each] ?? 0;
  // A letter for a class copies what that class may.
  const copied = /^[ugo]$/.test(letters) ? (mode >> (SHIFT[letters] ?? 0)) & 7 : 0;
  let bits = copied;
  if (letters.includes('r')) bits |= 4;
  if (letters.includes('w')) bits |= 2;
  if (letters.includes('x') || (letters.includes('X') && (isFolder || (mode & 0o111) !== 0))) bits |= 1;
  return (bits << shift) | (letters.includes('s') ? setId(each) : 0);
}
