/**
 * A build as it goes on, on standard error. In lines: `#5 [2/4] RUN …`, its output, `#5 CACHED` or `#5 DONE 0.3s`; on a terminal as a picture
 * that is drawn again and again (build-picture.ts).
 */
import type { Clock } from '../common/clock.ts';
import type { covey } from '../proto/messages.ts';
import { after, type BuildPicture, bytesOf, emptyPicture, screenOf, textOf } from './build-picture.ts';

export interface BuildProgress {
  show(output: covey.v1.BuildOutput.$Properties): void;
  /** Nothing more comes. */
  end(): void;
}

/** What a terminal is for us; standard error is one. */
export interface Canvas {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
}

export class LineProgress implements BuildProgress {
  readonly #say: (text: string) => void;
  /** The beginning of a line whose end has not come yet, by step; a byte string. */
  readonly #rest = new Map<number, string>();

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  show({ begin, end, text, warning }: covey.v1.BuildOutput.$Properties): void {
    if (warning) this.#say(`${warning}\n`);
    if (begin) this.#say(`#${begin.number} ${begin.title}\n`);
    if (text) this.#output(text.number ?? 0, bytesOf(text));
    if (!end) return;
    const number = end.number ?? 0;
    if ((this.#rest.get(number) ?? '') !== '') this.#output(number, '\n');
    const seconds = ((end.ms ?? 0) / 1_000).toFixed(1);
    const outcome = { cached: 'CACHED', failed: `ERROR: ${end.message}` }[end.outcome ?? ''] ?? `DONE ${seconds}s`;
    this.#say(`#${number} ${outcome}\n`);
  }

  end(): void {}

  #output(number: number, text: string): void {
    const lines = `${this.#rest.get(number) ?? ''}${text}`.split('\n');
    this.#rest.set(number, lines.pop() ?? '');
    for (const line of lines) this.#say(`#${number} ${textOf(line)}\n`);
  }
}

/** Often enough for tenths of seconds to be seen passing. */
const FRAME_MS = 100;

/** The cursor stays visible and below the picture: however we end, the terminal is as it was. */
export class DrawnProgress implements BuildProgress {
  readonly #canvas: Canvas;
  readonly #clock: Clock;
  #picture: BuildPicture;
  #drawn = 0;
  #cancel: () => void = () => undefined;

  constructor(canvas: Canvas, clock: Clock) {
    this.#canvas = canvas;
    this.#clock = clock;
    this.#picture = emptyPicture(clock.now());
    this.#frame();
  }

  show(output: covey.v1.BuildOutput.$Properties): void {
    this.#picture = after(this.#picture, output, this.#clock.now());
  }

  end(): void {
    this.#cancel();
    this.#picture = { ...this.#picture, endedAt: this.#clock.now() };
    // Of what did not begin nothing is to be seen.
    if (this.#picture.steps.length > 0) this.#draw();
    else this.#write([]);
    for (const warning of this.#picture.warnings) this.#canvas.write(`${warning}\n`);
  }

  #frame(): void {
    this.#draw();
    this.#cancel = this.#clock.after(FRAME_MS, () => this.#frame());
  }

  #draw(): void {
    this.#write(screenOf(this.#picture, this.#canvas, this.#clock.now()));
  }

  /** At once, so that nobody sees half of it. */
  #write(lines: readonly string[]): void {
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
    this.#canvas.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join('')}\x1b[0J`);
    this.#drawn = lines.length;
  }
}

/** Shows nothing. */
export const NO_PROGRESS: BuildProgress = { show: () => undefined, end: () => undefined };
