/**
 * Path patterns of `.dockerignore` and `--exclude`: Go's filepath.Match plus `**`. Source: Go, path/filepath.Match;
 * moby/patternmatcher. Matching takes as many steps as path times pattern, whatever they say.
 */
import { ClusterError } from '../errors.ts';

type Token =
  | { readonly kind: 'char'; readonly char: string }
  /** `?`: any but `/`. */
  | { readonly kind: 'one' }
  /** `*`: any text without `/`. */
  | { readonly kind: 'any' }
  /** `**` and a `/`: nothing, or folders with the `/` behind them. */
  | { readonly kind: 'folders' }
  /** `**` at the end: everything. */
  | { readonly kind: 'rest' }
  | {
      readonly kind: 'class';
      readonly isNot: boolean;
      readonly ranges: readonly (readonly [low: string, high: string])[];
    };

export interface Glob {
  fits(path: string): boolean;
  /** What every path that fits begins with. */
  readonly prefix: string;
}

/** @throws ClusterError `invalid`: an open `[`, an escape at the end */
export function globOf(pattern: string): Glob {
  const tokens = new Reader(pattern).tokens();
  const special = tokens.findIndex((token) => token.kind !== 'char');
  const prefix = text(special === -1 ? tokens : tokens.slice(0, special));
  if (special === -1) return { prefix, fits: (path) => path === prefix };
  // `**` and then plain text is looked for at the end of a path: `**.go` fits `a.go`, as it does for Docker.
  if (pattern.startsWith('**') && !/[*?[\\]/.test(pattern.slice(2))) {
    const suffix = pattern.slice(2);
    return { prefix, fits: (path) => path.endsWith(suffix) || `/${path}` === suffix };
  }
  return { prefix, fits: (path) => path.startsWith(prefix) && fitsFrom([...path], tokens) };
}

function text(tokens: readonly Token[]): string {
  return tokens.map((token) => (token.kind === 'char' ? token.char : '')).join('');
}

class Reader {
  readonly #chars: readonly string[];
  readonly #pattern: string;
  #at = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
    this.#chars = [...pattern];
  }

  tokens(): readonly Token[] {
    const tokens: Token[] = [];
    while (this.#at < this.#chars.length) tokens.push(this.#token());
    return tokens;
  }

  #token(): Token {
    const char = this.#next();
    if (char === '?') return { kind: 'one' };
    if (char === '[') return this.#class();
    if (char === '\\') return { kind: 'char', char: this.#next() };
    if (char !== '*') return { kind: 'char', char };
    if (this.#chars[this.#at] !== '*') return { kind: 'any' };
    this.#at += 1;
    if (this.#chars[this.#at] === '/') this.#at += 1;
    return this.#at === this.#chars.length ? { kind: 'rest' } : { kind: 'folders' };
  }

  #class(): Token {
    const isNot = this.#chars[this.#at] === '^';
    if (isNot) this.#at += 1;
    const ranges: [string, string][] = [];
    while (ranges.length === 0 || this.#chars[this.#at] !== ']') {
      const low = this.#member();
      if (this.#chars[this.#at] !== '-') ranges.push([low, low]);
      else {
        this.#at += 1;
        ranges.push([low, this.#member()]);
      }
    }
    this.#at += 1;
    return { kind: 'class', isNot, ranges };
  }

  #member(): string {
    const char = this.#next();
    if (char === '-' || char === ']') throw this.#wrong();
    return char === '\\' ? this.#next() : char;
  }

  #next(): string {
    const char = this.#chars[this.#at];
    if (char === undefined) throw this.#wrong();
    this.#at += 1;
    return char;
  }

  #wrong(): ClusterError {
    return new ClusterError('invalid', `syntax error in pattern "${this.#pattern}"`, {
      hint: 'close each [ by ], and put a backslash before a [ - ] or \\ that is meant itself',
    });
  }
}

function fitsFrom(chars: readonly string[], tokens: readonly Token[]): boolean {
  // `fits[i]`: what is left of the pattern fits the path from i on. It begins with nothing left: the path's end.
  let fits: Uint8Array = new Uint8Array(chars.length + 1);
  fits[chars.length] = 1;
  for (const token of tokens.toReversed()) fits = stepBack(chars, token, fits);
  return fits[0] === 1;
}

function stepBack(chars: readonly string[], token: Token, after: Uint8Array): Uint8Array {
  const fits = new Uint8Array(after.length);
  // Whether a folder's end further on, or anything further on, has a fit.
  let behind = 0;
  for (let i = chars.length; i >= 0; i -= 1) {
    const char = chars[i];
    const here = after[i] ?? 0;
    switch (token.kind) {
      case 'rest':
        behind |= here;
        fits[i] = behind;
        break;
      case 'folders':
        fits[i] = here | behind;
        if (chars[i - 1] === '/') behind |= here;
        break;
      case 'any':
        fits[i] = here | (char !== undefined && char !== '/' ? (fits[i + 1] ?? 0) : 0);
        break;
      case 'char':
      case 'one':
      case 'class':
        fits[i] = char !== undefined && isOf(token, char) ? (after[i + 1] ?? 0) : 0;
    }
  }
  return fits;
}

function isOf(token: Extract<Token, { readonly kind: 'char' | 'one' | 'class' }>, char: string): boolean {
  if (token.kind === 'char') return char === token.char;
  if (token.kind === 'one') return char !== '/';
  return token.ranges.some(([low, high]) => low <= char && char <= high) !== token.isNot;
}
