/** Where a line opens documents within the Dockerfile: `<<EOF`, `<<-EOF`, `<<"EOF"`, several in one line. */
import { jsonList } from './json-form.ts';
import { splitInstruction } from './split.ts';

export interface Opener {
  readonly name: string;
  /** Leading tabs go away. */
  readonly chomp: boolean;
  readonly expand: boolean;
}

const HOLDERS: readonly string[] = ['RUN', 'COPY', 'ADD'];
/** Source: BuildKit, parser.go, reHeredoc; names of a spaced `<< EOF` begin with a letter, so that `$((1 << 2))` is arithmetic. */
const OPENER = /^\d*<<(-?)(?:[ \t]+(?=["'A-Za-z_]))?([^<\s][^<]*)$/;

/** True for RUN, COPY and ADD, also behind ONBUILD, unless their words are a JSON list. */
export function canHoldHeredoc(text: string): boolean {
  if (!text.includes('<<')) return false;
  const { keyword, rest } = splitInstruction(text);
  if (keyword === 'ONBUILD') return canHoldHeredoc(rest);
  return HOLDERS.includes(keyword) && jsonList(rest) === undefined;
}

/** The documents that follow a line, in order. Quotes that do not end open none. Source: BuildKit, parser.go, heredocsFromLine. */
export function heredocsOf(text: string): readonly Opener[] {
  return rawWords(text).flatMap((word) => {
    const opener = openerOf(word);
    return opener === undefined ? [] : [opener];
  });
}

/** What a word opens, if anything. */
export function openerOf(word: string): Opener | undefined {
  const match = OPENER.exec(word);
  const quoted = match?.[2];
  if (match === null || quoted === undefined) return undefined;
  const name = quoted.replace(
    /\\(.)|"([^"]*)"|'([^']*)'/g,
    (_, escaped, double, single) => escaped ?? double ?? single,
  );
  if (name === '') return undefined;
  return { name, chomp: match[1] === '-', expand: !/["']/.test(quoted) };
}

/** The words with quotes and escapes left in them; `<< EOF` is one word. Source: BuildKit, shell/lex.go, processPossibleHeredoc. */
export function rawWords(text: string): readonly string[] {
  const words =
    text.match(/(?:[^\s"'\\<]|\\[\s\S]|<<-?[ \t]+(?=["'A-Za-z_])|<|"(?:[^"\\]|\\[\s\S])*"|'[^']*')+|["'\\]/g) ?? [];
  return words.some((word) => word === '"' || word === "'") ? [] : words;
}
