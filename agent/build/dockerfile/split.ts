/** An instruction's line in its parts: keyword, flags, the rest. Source: BuildKit, parser/split_command.go. */
export interface Parts {
  /** In capitals. */
  readonly keyword: string;
  /** `--mount=type=cache,target=/x`, quotes and escapes gone. */
  readonly flags: readonly string[];
  readonly rest: string;
}

/** Go's unicode.IsSpace, for what a Dockerfile may hold. */
const SPACE = /\s/;

export function splitInstruction(text: string): Parts {
  const line = text.trim();
  const match = /^([^\t\v\f\r ]+)[\t\v\f\r ]*([\s\S]*)$/.exec(line);
  const { flags, rest } = flagsOf(match?.[2] ?? '');
  return { keyword: (match?.[1] ?? '').toUpperCase(), flags, rest: rest.trim() };
}

/** The leading words that begin with `--`; a lone `--` ends them and is gone. */
function flagsOf(text: string): { readonly flags: readonly string[]; readonly rest: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && SPACE.test(text.charAt(at))) at += 1;
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) };
    const { word, end } = flagWord(text, at);
    at = end;
    if (word === '--') return { flags, rest: text.slice(at) };
    flags.push(word);
  }
}

function flagWord(text: string, from: number): { readonly word: string; readonly end: number } {
  let word = '';
  let quote = '';
  let at = from;
  for (; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (quote === '' && SPACE.test(char)) break;
    if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char !== '\\') word += char;
    else {
      at += 1;
      word += text.charAt(at);
    }
  }
  return { word, end: at };
}

/** The words of a line by spaces alone. */
export function spaced(text: string): readonly string[] {
  return text.split(/[\t\v\f\r ]+/).filter((word) => word !== '');
}

/**
 * The words of a line by spaces outside of quotes; quotes and escapes stay in them. Source: BuildKit, parser/line_parsers.go,
 * parseWords.
 */
export function quotedWords(text: string, escapeSign: string): readonly string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (quote === '' && SPACE.test(char)) {
      if (word !== '') words.push(word);
      word = '';
      continue;
    }
    if (char === escapeSign && quote !== "'") {
      // An escape at the very end says nothing.
      if (at + 1 === text.length) break;
      at += 1;
      word += char + text.charAt(at);
      continue;
    }
    if (char === quote) quote = '';
    else if (quote === '' && (char === '"' || char === "'")) quote = char;
    word += char;
  }
  if (word !== '') words.push(word);
  return words;
}
