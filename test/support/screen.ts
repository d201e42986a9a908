/** A program on a terminal of its own, made by script(1): what is typed into it, and all that it shows. */
import { execFileSync, spawn } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { until } from './until.ts';

const SEEN_MS = 20_000;

export class Screen {
  /** The program's exit code, 128 + signal. */
  readonly code: Promise<number>;
  readonly #type: (text: string) => void;
  #shown = '';

  constructor(
    size: { readonly rows: number; readonly columns: number },
    words: readonly string[],
    env: NodeJS.ProcessEnv,
  ) {
    const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const program = `(echo pid-$(exec sh -c 'echo $PPID'); exec ${quoted})`;
    const line = `stty rows ${size.rows} cols ${size.columns}; ${program}; code=$?; stty -a; exit $code`;
    const child = spawn('script', ['--quiet', '--return', '--command', line, '/dev/null'], {
      env: { ...env, SHELL: '/bin/sh' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdout.on('data', (text) => {
      this.#shown += text;
    });
    this.#type = (text) => child.stdin.write(text);
    this.code = new Promise((resolve) => child.once('close', (status) => resolve(status ?? 128)));
  }

  type(text: string): void {
    this.#type(text);
  }

  get shown(): string {
    return this.#shown;
  }

  async sees(text: string): Promise<void> {
    await until(`it shows "${text}"`, SEEN_MS, () => this.#shown.includes(text)).catch((cause: unknown) => {
      throw new Error(`${String(cause)}, only ${JSON.stringify(this.#shown)}`, { cause });
    });
  }

  /** The program's own. */
  async pid(): Promise<number> {
    const pid = () => /pid-(\d+)\r\n/.exec(this.#shown)?.[1];
    return Number(await until('it has told its pid', SEEN_MS, pid));
  }

  async resize(rows: number, columns: number): Promise<void> {
    const terminal = readlinkSync(`/proc/${await this.pid()}/fd/0`);
    execFileSync('stty', ['-F', terminal, 'rows', String(rows), 'cols', String(columns)]);
  }

  /** After the end: lines are edited and echoed again, as before. */
  get isCooked(): boolean {
    return / icanon /.test(this.#shown) && / echo /.test(this.#shown);
  }
}
