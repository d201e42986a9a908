/**
 * The Dockerfile as instructions: comments gone, continued lines joined, documents (heredocs) apart. Comes in the file's text,
 * goes out what parse.ts gives a meaning to.
 *
 * dockerfile-ast finds directives and where instructions begin. It is made for editors and forgives everything, so each
 * instruction is read again here by the rules of the reference; where it sees a border elsewhere (a line that ends in an escaped
 * escape, `3<<EOF`, `<< EOF`, a line of nothing but an escape), it is asked anew from our border on (ADR 0023).
 */
import { DockerfileParser } from 'dockerfile-ast';
import { ClusterError, messageOf } from '../../../common/errors.ts';
import { flaw } from './flaw.ts';
import { canHoldHeredoc, heredocsOf, type Opener } from './heredoc.ts';
import type { Heredoc, Span } from './steps.ts';

export interface Framed {
  readonly span: Span;
  /** The instruction on one line, escapes at line ends gone. */
  readonly text: string;
  readonly heredocs: readonly Heredoc[];
}

export interface Frame {
  readonly escape: Escape;
  readonly instructions: readonly Framed[];
  readonly warnings: readonly string[];
}

export type Escape = '\\' | '`';

/** A larger file is no Dockerfile. */
const TEXT_MAX = 256 * 1024;
/** More instructions are no Dockerfile either: an image has 127 layers at most. */
const INSTRUCTIONS_MAX = 2_048;
/** So many lines are shown to the library at first, and again after it has lost a border; four times as many while it agrees. */
const WINDOW_MIN = 16;
const WINDOW_MAX = 4_096;
/** Directives that builders know. Source: Dockerfile reference, "Parser directives". */
const DIRECTIVES: readonly string[] = ['syntax', 'escape', 'check'];

/**
 * @param name  what errors call the file
 * @throws ClusterError `invalid`: too large, a wrong directive, a document without an end, no instruction at all
 */
export function frameOf(text: string, name: string): Frame {
  if (text.length > TEXT_MAX) {
    throw new ClusterError(
      'invalid',
      `${name} has ${text.length} characters, more than ${TEXT_MAX} are no Dockerfile`,
      {
        hint: 'copy large content from the build context instead',
      },
    );
  }
  const raw = text.replace(/^\uFEFF/, '').split('\n');
  const { sign, count } = directivesOf(raw.join('\n'), name);
  const frame = new Framer(raw, sign, name).read(count);
  if (frame.instructions.length === 0) {
    const end = { line: raw.length, endLine: raw.length };
    throw flaw({ file: name, span: end, text: '' }, 'file with no instructions', 'begin with FROM IMAGE');
  }
  return frame;
}

/** The escape in force, and how many lines the directives take. A name nobody knows is a comment, and ends them. */
function directivesOf(text: string, name: string): { readonly sign: Escape; readonly count: number } {
  const seen = new Set<string>();
  let sign: Escape = '\\';
  for (const directive of ask(text, name).getDirectives()) {
    const key = directive.getName().toLowerCase();
    if (!DIRECTIVES.includes(key)) break;
    const { line } = directive.getRange().start;
    const place = { file: name, span: { line: line + 1, endLine: line + 1 }, text: `# ${key}=` };
    if (seen.has(key)) throw flaw(place, `only one ${key} parser directive can be used`, 'remove the second');
    seen.add(key);
    if (key !== 'escape') continue;
    const value = directive.getValue();
    if (value !== '\\' && value !== '`') throw flaw(place, `invalid escape token '${value}' does not match \` or \\`);
    sign = value;
  }
  return { sign, count: seen.size };
}

function ask(text: string, name: string): ReturnType<typeof DockerfileParser.parse> {
  try {
    return DockerfileParser.parse(text);
  } catch (cause) {
    throw new ClusterError('invalid', `${name} cannot be read: ${messageOf(cause)}`, {
      hint: 'look for unusual characters in the file',
      cause,
    });
  }
}

/** Reads the lines of one file, from top to bottom. */
class Framer {
  readonly #raw: readonly string[];
  /** Without line ends. */
  readonly #lines: readonly string[];
  readonly #escape: Escape;
  readonly #name: string;
  readonly #continues: RegExp;
  readonly #warnings: string[] = [];
  /** Lines where the library sees an instruction begin, among those it was last shown. */
  #begins: ReadonlySet<number> = new Set();
  #shownTo = 0;
  #window = WINDOW_MIN;

  constructor(raw: readonly string[], sign: Escape, name: string) {
    this.#raw = raw;
    this.#lines = raw.map(withoutReturns);
    this.#escape = sign;
    this.#name = name;
    const inPattern = sign === '\\' ? '\\\\' : '`';
    // An escape after an escape is text. Source: BuildKit, parser.go, lineContinuationRegex.
    this.#continues = new RegExp(`(?:^|[^${inPattern}])${inPattern}[ \\t]*$`);
  }

  read(first: number): Frame {
    const instructions: Framed[] = [];
    let at = first;
    while (at < this.#lines.length) {
      const line = this.#lines[at] ?? '';
      if (isBlank(line) || isComment(line)) {
        at += 1;
        continue;
      }
      if (!this.#begins.has(at)) this.#askFrom(at);
      if (!this.#begins.has(at)) throw this.#unreadable(at);
      const { framed, next } = this.#instruction(at);
      if (framed !== undefined) instructions.push(framed);
      if (instructions.length > INSTRUCTIONS_MAX) throw this.#tooMany(at);
      at = next;
    }
    return { escape: this.#escape, instructions, warnings: this.#warnings };
  }

  #tooMany(at: number): ClusterError {
    const place = { file: this.#name, span: { line: at + 1, endLine: at + 1 }, text: '' };
    return flaw(place, `more than ${INSTRUCTIONS_MAX} instructions`, 'put what belongs together into one RUN');
  }

  #unreadable(at: number): ClusterError {
    const place = { file: this.#name, span: { line: at + 1, endLine: at + 1 }, text: this.#lines[at] ?? '' };
    return flaw(place, 'no instruction begins here', 'begin the line with an instruction, such as RUN');
  }

  #askFrom(line: number): void {
    const agreed = line >= this.#shownTo;
    this.#window = agreed ? Math.min(this.#window * 4, WINDOW_MAX) : WINDOW_MIN;
    this.#shownTo = line + this.#window;
    const shown = this.#lines.slice(line, this.#shownTo).join('\n').replaceAll('\r', ' ');
    // An empty line ends the directives, so that nothing after it is taken for one.
    const instructions = ask(`# escape=${this.#escape}\n\n${shown}`, this.#name).getInstructions();
    this.#begins = new Set(instructions.map((each) => each.getRange().start.line - 2 + line));
  }

  /** One instruction from line `from` on; none when its lines hold nothing but escapes. */
  #instruction(from: number): { readonly framed?: Framed; readonly next: number } {
    const parts: string[] = [];
    let at = from;
    let ended = false;
    let hasEmptyLine = false;
    while (!ended && at < this.#lines.length) {
      const line = this.#lines[at] ?? '';
      at += 1;
      if (isComment(line)) continue;
      if (at > from + 1 && isBlank(line)) {
        hasEmptyLine = true;
        continue;
      }
      const match = this.#continues.exec(line);
      ended = match === null;
      parts.push(match === null ? line : line.slice(0, line.lastIndexOf(this.#escape)));
    }
    const text = parts.join('').trim();
    if (text === '') return { next: at };
    if (hasEmptyLine) {
      this.#warnings.push(
        `${this.#name}:${from + 1}: empty continuation line: Docker will refuse it one day; remove it`,
      );
    }
    const { heredocs, next } = this.#documents(text, from, at);
    return { framed: { span: { line: from + 1, endLine: next }, text, heredocs }, next };
  }

  #documents(
    text: string,
    from: number,
    after: number,
  ): { readonly heredocs: readonly Heredoc[]; readonly next: number } {
    const openers = canHoldHeredoc(text) ? heredocsOf(text) : [];
    let at = after;
    const heredocs = openers.map((opener): Heredoc => {
      const end = this.#endOf(opener, at);
      if (end === -1) {
        const place = { file: this.#name, span: { line: from + 1, endLine: this.#lines.length }, text };
        throw flaw(place, 'unterminated heredoc', `end it with a line that says ${opener.name} alone`);
      }
      const lines = this.#raw.slice(at, end).map((line) => (opener.chomp ? line.replace(/^\t+/, '') : line));
      at = end + 1;
      return { name: opener.name, content: lines.map((line) => `${line}\n`).join(''), expand: opener.expand };
    });
    return { heredocs, next: at };
  }

  #endOf({ name, chomp }: Opener, from: number): number {
    for (let at = from; at < this.#lines.length; at += 1) {
      const line = this.#lines[at] ?? '';
      if ((chomp ? line.replace(/^\t+/, '') : line) === name) return at;
    }
    return -1;
  }
}

/** By hand: `/\r+$/` looks at every return once for each return before it. */
function withoutReturns(line: string): string {
  let end = line.length;
  while (line.charAt(end - 1) === '\r') end -= 1;
  return line.slice(0, end);
}

function isBlank(line: string): boolean {
  return line.trim() === '';
}

function isComment(line: string): boolean {
  return line.trimStart().startsWith('#');
}
