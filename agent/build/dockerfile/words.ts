/**
 * Variables, quotes and escapes in a word of the Dockerfile: `$x ${x} ${x:-w} ${x-w} ${x:+w} ${x+w} ${x:?e} ${x?e} ${x#p} ${x##p}
 * ${x%p} ${x%%p} ${x/p/r} ${x//p/r}`. Source: Dockerfile reference, "Environment replacement"; BuildKit, shell/lex.go.
 *
 * It ends for every text: each character is looked at a bounded number of times, depth and length have limits.
 */
import { ClusterError } from '../../../common/errors.ts';
import { patternOf, replaced, withoutPrefix, withoutSuffix } from './shell-pattern.ts';

export type Variables = ReadonlyMap<string, string>;

export interface ExpandOptions {
  readonly escape: string;
  /** Quotes are ordinary characters, as in a document. */
  readonly quotesAreText?: boolean;
}

export interface Expanded {
  /** The whole as one word. */
  readonly text: string;
  /** Split at spaces that were not quoted, those of values included. */
  readonly words: readonly string[];
  /** Variables that had no value, each once, in order. */
  readonly unset: readonly string[];
}

/** Longer than any variable that Linux hands to a program (MAX_ARG_STRLEN), so that doubling texts ends soon. */
const LENGTH_MAX = 128 * 1024;
/** `${a:-${b:-…}}` goes no deeper. */
const DEPTH_MAX = 64;

/** @throws ClusterError `invalid`: a quote or brace without an end, a substitution nobody knows, `${x:?…}` of what is not set */
export function expandWord(word: string, variables: Variables, options: ExpandOptions): Expanded {
  const expander = new Expander(word, variables, options);
  const { text, words } = expander.until(undefined, false);
  return { text, words, unset: expander.unset };
}

/** What has been read: as text, and in words. */
class Result {
  #text = '';
  #word = '';
  readonly #words: string[] = [];

  /** Text that no space splits. */
  quoted(text: string): void {
    this.#text = limited(this.#text + text);
    this.#word += text;
  }

  /** Text that its spaces split. */
  split(text: string): void {
    this.#text = limited(this.#text + text);
    for (const char of text) {
      if (!/\s/.test(char)) this.#word += char;
      else this.#endWord();
    }
  }

  get all(): { readonly text: string; readonly words: readonly string[] } {
    this.#endWord();
    return { text: this.#text, words: this.#words };
  }

  #endWord(): void {
    if (this.#word !== '') this.#words.push(this.#word);
    this.#word = '';
  }
}

class Expander {
  readonly #chars: readonly string[];
  readonly #variables: Variables;
  readonly #options: ExpandOptions;
  readonly #unset = new Set<string>();
  #at = 0;
  #depth = 0;

  constructor(word: string, variables: Variables, options: ExpandOptions) {
    this.#chars = [...word];
    this.#variables = variables;
    this.#options = options;
  }

  get unset(): readonly string[] {
    return [...this.#unset];
  }

  /** Reads to `stop`, which is taken, or to the end. `keepEscapes`: a pattern gives escapes a meaning of its own. */
  until(stop: string | undefined, keepEscapes: boolean): { readonly text: string; readonly words: readonly string[] } {
    const result = new Result();
    for (;;) {
      const char = this.#peek();
      if (char === undefined) {
        if (stop !== undefined) throw wrong(`syntax error: missing '${stop}'`);
        return result.all;
      }
      if (char === stop) {
        this.#at += 1;
        return result.all;
      }
      if (char === '$') result.split(this.#dollar());
      else if (char === "'" && this.#options.quotesAreText !== true) result.quoted(this.#singleQuoted());
      else if (char === '"' && this.#options.quotesAreText !== true) result.quoted(this.#doubleQuoted(keepEscapes));
      else {
        this.#at += 1;
        if (char !== this.#options.escape) result.split(char);
        else result.quoted(`${keepEscapes ? char : ''}${this.#next() ?? ''}`);
      }
    }
  }

  #peek(): string | undefined {
    return this.#chars[this.#at];
  }

  #next(): string | undefined {
    const char = this.#chars[this.#at];
    this.#at += 1;
    return char;
  }

  #singleQuoted(): string {
    const from = this.#at + 1;
    const end = this.#chars.indexOf("'", from);
    if (end === -1) throw wrong('unexpected end of statement while looking for matching single-quote');
    this.#at = end + 1;
    return this.#chars.slice(from, end).join('');
  }

  /** Only `"`, `$` and the escape itself can be escaped; before anything else an escape is text. */
  #doubleQuoted(keepEscapes: boolean): string {
    const sign = this.#options.escape;
    let text = '';
    this.#at += 1;
    for (;;) {
      const char = this.#peek();
      if (char === undefined) throw wrong('unexpected end of statement while looking for matching double-quote');
      if (char === '$') {
        text = limited(text + this.#dollar());
        continue;
      }
      this.#at += 1;
      if (char === '"') return text;
      if (char !== sign) {
        text += char;
        continue;
      }
      const escaped = this.#peek();
      if (keepEscapes) text += char;
      if (escaped === '"' || escaped === '$' || escaped === sign) text += this.#next();
      else if (escaped !== undefined) text += char;
    }
  }

  #dollar(): string {
    this.#at += 1;
    if (this.#peek() !== '{') {
      const name = this.#name();
      return name === '' ? '$' : (this.#value(name) ?? '');
    }
    this.#at += 1;
    const first = this.#peek();
    if (first === undefined) throw wrong("syntax error: missing '}'");
    if (first === '{' || first === '}' || first === ':') throw wrong('syntax error: bad substitution');
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw wrong(`substitutions are nested deeper than ${DEPTH_MAX}`);
    const text = this.#braced(this.#name());
    this.#depth -= 1;
    return text;
  }

  #braced(name: string): string {
    const sign = this.#next();
    if (sign === undefined) throw wrong("syntax error: missing '}'");
    if (sign === '}') return this.#value(name) ?? '';
    if (sign === '/') return this.#replacement(name);
    if (sign === '#' || sign === '%') return this.#trimmed(name, sign);
    const emptyIsUnset = sign === ':';
    const operator = emptyIsUnset ? (this.#next() ?? '') : sign;
    if (operator !== '-' && operator !== '+' && operator !== '?') {
      throw wrong(`unsupported modifier (${emptyIsUnset ? ':' : ''}${operator}) in substitution`);
    }
    const word = this.until('}', false).text;
    const value = operator === '-' || operator === '+' ? this.#variables.get(name) : this.#value(name);
    const isSet = value !== undefined && !(emptyIsUnset && value === '');
    if (operator === '+') return isSet ? word : '';
    if (isSet) return value;
    if (operator === '-') return word;
    const why = word !== '' ? word : `is not allowed to be ${value === undefined ? 'unset' : 'empty'}`;
    throw wrong(`${name}: ${why}`);
  }

  #trimmed(name: string, sign: '#' | '%'): string {
    const longest = this.#peek() === sign;
    if (longest) this.#at += 1;
    const pattern = patternOf(this.until('}', true).text);
    const value = this.#value(name) ?? '';
    return sign === '#' ? withoutPrefix(value, pattern, longest) : withoutSuffix(value, pattern, longest);
  }

  #replacement(name: string): string {
    const all = this.#peek() === '/';
    if (all) this.#at += 1;
    const pattern = patternOf(this.until('/', true).text);
    const word = this.until('}', true).text;
    return limited(replaced(this.#value(name) ?? '', pattern, word, all));
  }

  /** Letters, digits and `_`; or digits alone, or one of the shell's special signs. Empty when there is none. */
  #name(): string {
    const first = this.#peek() ?? '';
    if ('@*#?-$!'.includes(first) && first !== '') {
      this.#at += 1;
      return first;
    }
    const shape = /\p{Nd}/u.test(first) ? /^\p{Nd}$/u : /^[\p{L}\p{Nd}_]$/u;
    let name = '';
    while (shape.test(this.#peek() ?? '')) name += this.#next();
    return name;
  }

  #value(name: string): string | undefined {
    const value = this.#variables.get(name);
    if (value === undefined) this.#unset.add(name);
    return value;
  }
}

function limited(text: string): string {
  if (text.length > LENGTH_MAX) throw wrong(`the text grows beyond ${LENGTH_MAX} characters`);
  return text;
}

function wrong(why: string): ClusterError {
  return new ClusterError('invalid', why);
}
