/**
 * What a terminal shows of a build. Comes in: what the node tells, the time, the terminal's size. Goes out: lines, as BuildKit's progress:
 *
 *   [+] Building 12.3s (3/4)
 *    => [1/4] FROM alpine:3.20                                                 0.4s
 *    => CACHED [2/4] RUN apk add git                                           0.0s
 *    => [3/4] RUN make                                                         9.8s
 *    => => # cc -c main.c
 *
 * Pure: the same tellings make the same lines.
 */
import type { Instant } from '../common/model/ids.ts';
import type { covey } from '../proto/messages.ts';
import { cut, plainLine, spread } from './format/screen-text.ts';

export interface BuildPicture {
  readonly startedAt: Instant;
  /** In the order in which they began. */
  readonly steps: readonly StepPicture[];
  readonly warnings: readonly string[];
  /** When the build was over. */
  readonly endedAt?: Instant;
}

interface StepPicture {
  readonly number: number;
  readonly title: string;
  readonly startedAt: Instant;
  readonly end?: { readonly outcome: string; readonly ms: number };
  /** The last lines of its output, the last one perhaps without its end. */
  readonly tail: readonly string[];
}

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** Of a command's output; as BuildKit. */
const TAIL_LINES = 6;
/** Beginning of a line without an end, of which more is not looked at. */
const LINE_CHARS_MAX = 4_096;

export function emptyPicture(startedAt: Instant): BuildPicture {
  return { startedAt, steps: [], warnings: [] };
}

/** The picture after one more telling. */
export function after(picture: BuildPicture, output: covey.v1.BuildOutput.$Properties, now: Instant): BuildPicture {
  const { begin, end, text, warning } = output;
  if (warning) return { ...picture, warnings: [...picture.warnings, warning] };
  if (begin) {
    const step = { number: begin.number ?? 0, title: plainLine(begin.title ?? ''), startedAt: now, tail: [''] };
    return { ...picture, steps: [...picture.steps, step] };
  }
  if (end) {
    const outcome = { outcome: end.outcome ?? '', ms: end.ms ?? 0 };
    return withStep(picture, end.number ?? 0, (step) => ({ ...step, end: outcome }));
  }
  if (!text) return picture;
  return withStep(picture, text.number ?? 0, (step) => ({ ...step, tail: tailOf(step.tail, bytesOf(text)) }));
}

/** What a step says, as a byte string: a message may end within a character, a line does not. */
export function bytesOf({ text }: covey.v1.BuildText.$Properties): string {
  return Buffer.from(text ?? new Uint8Array()).toString('latin1');
}

/** A whole line of a byte string. */
export function textOf(line: string): string {
  return Buffer.from(line, 'latin1').toString('utf8');
}

function withStep(picture: BuildPicture, number: number, change: (step: StepPicture) => StepPicture): BuildPicture {
  return { ...picture, steps: picture.steps.map((step) => (step.number === number ? change(step) : step)) };
}

function tailOf(tail: readonly string[], added: string): readonly string[] {
  const lines = `${tail.at(-1) ?? ''}${added}`.split('\n');
  return [...tail.slice(0, -1), ...lines].slice(-TAIL_LINES - 1).map((line) => line.slice(-LINE_CHARS_MAX));
}

/**
 * The lines to be shown at `now`: at most one less than the terminal has rows, because the cursor stands below them; all steps once the build
 * is over. None is as wide as the terminal, which would begin another line. Where there is no room for all, what runs comes before what is
 * done, and new before old.
 */
export function screenOf(picture: BuildPicture, size: ScreenSize, now: Instant): readonly string[] {
  const { steps, startedAt, endedAt } = picture;
  const columns = Math.max(1, size.columns - 1);
  const room = endedAt === undefined ? Math.max(0, size.rows - 2) : steps.length;
  const shown = chosen(steps, room);
  const done = steps.filter(({ end }) => end !== undefined).length;
  const over = endedAt === undefined ? '' : ' FINISHED';
  const lines = [
    cut(`[+] Building ${seconds((endedAt ?? now) - startedAt)} (${done}/${steps.length})${over}`, columns),
  ];
  let left = room - shown.length;
  for (const step of shown) {
    const said =
      step.end === undefined
        ? step.tail.map((line) => plainLine(textOf(line))).filter((line) => line.trim() !== '')
        : [];
    const told = said.slice(Math.max(0, said.length - Math.min(TAIL_LINES, left)));
    left -= told.length;
    lines.push(stepLine(step, picture, columns, now), ...told.map((line) => cut(` => => # ${line}`, columns)));
  }
  return lines;
}

function chosen(steps: readonly StepPicture[], room: number): readonly StepPicture[] {
  const newest = (some: readonly StepPicture[], count: number): readonly StepPicture[] =>
    some.slice(Math.max(0, some.length - count));
  const running = newest(
    steps.filter(({ end }) => end === undefined),
    room,
  );
  const done = newest(
    steps.filter(({ end }) => end !== undefined),
    room - running.length,
  );
  const kept = new Set([...running, ...done]);
  return steps.filter((step) => kept.has(step));
}

function stepLine(
  { title, startedAt, end }: StepPicture,
  { endedAt }: BuildPicture,
  columns: number,
  now: Instant,
): string {
  const given = end === undefined && endedAt !== undefined ? 'CANCELED ' : '';
  const mark = { cached: 'CACHED ', failed: 'ERROR ' }[end?.outcome ?? ''] ?? given;
  return spread(` => ${mark}${title}`, seconds(end?.ms ?? (endedAt ?? now) - startedAt), columns);
}

function seconds(ms: number): string {
  return `${(Math.max(0, ms) / 1_000).toFixed(1)}s`;
}
