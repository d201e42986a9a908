/**
 * The patterns of `${x#p}` and `${x/p/r}`: `*` any text, `?` one character, no brackets. Source: POSIX, XCU 2.13; BuildKit,
 * shell/lex.go, convertShellPatternToRegex. Matching is dynamic programming, not a regular expression: those take exponential
 * time for what anybody can write into a Dockerfile.
 */
import { ClusterError } from '../../../common/errors.ts';

type Token = { readonly kind: 'any' } | { readonly kind: 'one' } | { readonly kind: 'char'; readonly char: string };

export type Pattern = readonly Token[];

/** Characters of the value times those of the pattern: a tenth of a second of work. */
const WORK_MAX = 16 * 1024 * 1024;
const NONE = -1;

/** @throws ClusterError `invalid` for an escape before anything but `* ? \ / }` */
export function patternOf(text: string): Pattern {
  const chars = [...text];
  const tokens: Token[] = [];
  for (let at = 0; at < chars.length; at += 1) {
    const char = chars[at] ?? '';
    if (char === '*') tokens.push({ kind: 'any' });
    else if (char === '?') tokens.push({ kind: 'one' });
    else if (char !== '\\') tokens.push({ kind: 'char', char });
    else {
      at += 1;
      const escaped = chars[at];
      if (escaped === undefined || !'*?\\/}'.includes(escaped)) {
        throw new ClusterError(
          'invalid',
          `invalid pattern (${text}) in substitution: invalid escape '\\${escaped ?? ''}'`,
          {
            hint: 'only * ? \\ / and } are escaped in a pattern',
          },
        );
      }
      tokens.push({ kind: 'char', char: escaped });
    }
  }
  return tokens;
}

export function withoutPrefix(value: string, pattern: Pattern, longest: boolean): string {
  const chars = [...value];
  const end = endsOf(chars, pattern, longest)[0] ?? NONE;
  return end === NONE ? value : chars.slice(end).join('');
}

export function withoutSuffix(value: string, pattern: Pattern, longest: boolean): string {
  const chars = [...value].toReversed();
  const end = endsOf(chars, pattern.toReversed(), longest)[0] ?? NONE;
  return end === NONE ? value : chars.slice(end).toReversed().join('');
}

/** The leftmost match, each as long as can be, or all of them one after the other. */
export function replaced(value: string, pattern: Pattern, replacement: string, all: boolean): string {
  const chars = [...value];
  const ends = endsOf(chars, pattern, true);
  const parts: string[] = [];
  let done = false;
  let at = 0;
  let lastEnd = NONE;
  while (at <= chars.length) {
    const end = done ? NONE : (ends[at] ?? NONE);
    // As in Go, an empty match right behind a match is none.
    if (end === NONE || (end === at && at === lastEnd)) {
      parts.push(chars[at] ?? '');
      at += 1;
      continue;
    }
    parts.push(replacement);
    done = !all;
    lastEnd = end;
    if (end === at) {
      parts.push(chars[at] ?? '');
      at += 1;
    } else at = end;
  }
  return parts.join('');
}

/** For each beginning in `chars`, its end included, where the longest or shortest match ends; NONE where nothing matches. */
function endsOf(chars: readonly string[], pattern: Pattern, longest: boolean): Int32Array {
  if (chars.length * pattern.length > WORK_MAX) {
    throw new ClusterError('invalid', 'a pattern in a substitution is too long for its value', {
      hint: 'use a shorter pattern, or change the value in a RUN',
    });
  }
  // `ends[i]` = where the rest of the pattern, matched from i on, ends. It begins with no pattern left: right there.
  let ends = Int32Array.from({ length: chars.length + 1 }, (_, i) => i);
  for (const token of pattern.toReversed()) ends = stepBack(chars, token, ends, longest);
  return ends;
}

function stepBack(
  chars: readonly string[],
  token: Token,
  after: Int32Array,
  longest: boolean,
): Int32Array<ArrayBuffer> {
  const ends = new Int32Array(after.length).fill(NONE);
  for (let i = chars.length; i >= 0; i -= 1) {
    const char = chars[i];
    // No wildcard runs over the end of a line.
    const taken = char !== undefined && (token.kind === 'char' ? char === token.char : char !== '\n');
    if (token.kind !== 'any') ends[i] = taken ? (after[i + 1] ?? NONE) : NONE;
    else {
      const stay = after[i] ?? NONE;
      const go = taken ? (ends[i + 1] ?? NONE) : NONE;
      ends[i] = better(stay, go, longest);
    }
  }
  return ends;
}

function better(stay: number, go: number, longest: boolean): number {
  if (stay === NONE || go === NONE) return Math.max(stay, go);
  return longest ? Math.max(stay, go) : Math.min(stay, go);
}
