/** One part of a path against one part of a pattern, as COPY has them. Source: Go, path/filepath.Match. */

/** What a part of a pattern stands for, one character after the other. */
type Token = { readonly kind: 'any' } | { readonly kind: 'one'; readonly fits: (char: string) => boolean };

/** `*` any text, `?` one character, `[a-c]` `[^a]` one of them, `\` the next as it is. An open `[` stands for itself. */
export function matchesName(pattern: string, name: string): boolean {
  const tokens = tokensOf([...pattern]);
  const chars = [...name];
  // Which prefixes of the pattern fit what was read so far: as many steps as characters times tokens, for any pattern.
  let fitting = spread(new Set([0]), tokens);
  for (const char of chars) {
    const next = new Set<number>();
    for (const at of fitting) {
      const token = tokens[at];
      if (token?.kind === 'any') next.add(at);
      if (token?.kind === 'one' && token.fits(char)) next.add(at + 1);
    }
    fitting = spread(next, tokens);
  }
  return fitting.has(tokens.length);
}

function spread(at: Set<number>, tokens: readonly Token[]): Set<number> {
  for (const each of at) if (tokens[each]?.kind === 'any') at.add(each + 1);
  return at;
}

function tokensOf(pattern: readonly string[]): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern[at] as string;
    const close = char === '[' ? pattern.indexOf(']', at + 2) : -1;
    if (char === '*') tokens.push({ kind: 'any' });
    else if (char === '?') tokens.push({ kind: 'one', fits: () => true });
    else if (close > 0) {
      tokens.push({ kind: 'one', fits: rangeOf(pattern.slice(at + 1, close)) });
      at = close;
    } else {
      if (char === '\\' && at + 1 < pattern.length) at += 1;
      const plain = pattern[at];
      tokens.push({ kind: 'one', fits: (each) => each === plain });
    }
  }
  return tokens;
}

function rangeOf(inside: readonly string[]): (char: string) => boolean {
  const isNot = inside[0] === '^';
  const chars = isNot ? inside.slice(1) : inside;
  return (char) => {
    let isIn = false;
    for (let at = 0; at < chars.length; at += 1) {
      const low = chars[at] as string;
      const high = chars[at + 1] === '-' && at + 2 < chars.length ? (chars[at + 2] as string) : low;
      if (char >= low && char <= high) isIn = true;
      if (high !== low || chars[at + 1] === '-') at += chars[at + 1] === '-' && at + 2 < chars.length ? 2 : 0;
    }
    return isIn !== isNot;
  };
}
