/** Errors of a Dockerfile: which file, which line, what it says there, what to do. */
import { ClusterError } from '../../../common/errors.ts';
import type { Span } from './steps.ts';

/** A place in the file, for messages. */
export interface Place {
  readonly file: string;
  readonly span: Span;
  /** The instruction as it is written, on one line. */
  readonly text: string;
}

/** A longer instruction is cut in messages. */
const SHOWN_MAX = 120;

/** The error for what stands at `place`: `dockerfile parse error on line 3: unknown instruction: RNU (did you mean RUN?): "RNU make"`. */
export function flaw({ file, span, text }: Place, why: string, hint?: string): ClusterError {
  const lines = span.line === span.endLine ? `line ${span.line}` : `lines ${span.line}-${span.endLine}`;
  const shown = text === '' ? '' : `: "${shortened(text)}"`;
  return new ClusterError('invalid', `dockerfile parse error on ${lines}: ${why}${shown}`, {
    field: `${file}:${span.line}`,
    ...(hint === undefined ? {} : { hint }),
  });
}

export function shortened(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length <= SHOWN_MAX ? line : `${line.slice(0, SHOWN_MAX - 1)}…`;
}

/** ` (did you mean RUN?)` when one of the known words is at most two letters away, else nothing. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = known
    .map((each) => ({ each, far: distance(word.toLowerCase(), each.toLowerCase()) }))
    .filter(({ far, each }) => far <= 2 && far < each.length)
    .toSorted((a, b) => a.far - b.far)[0];
  return near === undefined ? '' : ` (did you mean ${near.each}?)`;
}

/** Slips between two words: a letter more, less, another one, or two exchanged; words too long to be a slip are far away. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return Number.POSITIVE_INFINITY;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, i) => i)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const exchanged =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + same, exchanged));
    }
  }
  return at(a.length, b.length);
}
