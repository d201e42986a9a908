/** A build as it goes on, in lines: `#5 [2/4] RUN …`, its output, `#5 CACHED` or `#5 DONE 0.3s`. */
import type { covey } from '../proto/messages.ts';

export class BuildProgress {
  readonly #isQuiet: boolean;
  /** The beginning of a line whose end has not come yet, by step. */
  readonly #rest = new Map<number, string>();
  #digest = '';

  constructor(how: 'plain' | 'quiet') {
    this.#isQuiet = how === 'quiet';
  }

  show({ begin, end, text, warning, built }: covey.v1.BuildOutput): void {
    if (built) this.#digest = built;
    if (warning) this.#say(`${warning}\n`);
    if (begin) this.#say(`#${begin.number} ${begin.title}\n`);
    if (text) this.#output(text.number ?? 0, Buffer.from(text.text ?? new Uint8Array()).toString('utf8'));
    if (!end) return;
    const number = end.number ?? 0;
    if ((this.#rest.get(number) ?? '') !== '') this.#output(number, '\n');
    const seconds = ((end.ms ?? 0) / 1_000).toFixed(1);
    const outcome = { cached: 'CACHED', failed: `ERROR: ${end.message}` }[end.outcome ?? ''] ?? `DONE ${seconds}s`;
    this.#say(`#${number} ${outcome}\n`);
  }

  /** On standard output what scripts read. */
  done(names: readonly string[]): void {
    if (this.#isQuiet) process.stdout.write(`${this.#digest}\n`);
    else for (const name of names) this.#say(`built ${name} ${this.#digest}\n`);
  }

  #output(number: number, text: string): void {
    const lines = `${this.#rest.get(number) ?? ''}${text}`.split('\n');
    this.#rest.set(number, lines.pop() ?? '');
    for (const line of lines) this.#say(`#${number} ${line}\n`);
  }

  #say(text: string): void {
    if (!this.#isQuiet) process.stderr.write(text);
  }
}
