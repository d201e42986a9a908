/** A user's command for tests: what it was asked, all it wrote, how it ended. */
import type { ExecSession, OpenExecRequest } from '../../agent/runtime/exec.ts';
import type { NativeRuntime } from '../../agent/runtime/native-runtime.ts';
import { forever } from './native-world.ts';

export interface Heard {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Opens a command with plain defaults: stdin, no terminal. */
export function openExec(
  runtime: NativeRuntime,
  id: string,
  args: readonly string[],
  wanted: Partial<OpenExecRequest> = {},
): Promise<ExecSession> {
  const request = { args, env: [], privileged: false, stdin: true, detached: false, ...wanted };
  return runtime.openExec(id, request, forever);
}

/** Gives it `input`, then the end of its stdin; resolves when it has ended and all was read. */
export async function heard(session: ExecSession, input = ''): Promise<Heard> {
  const given = feed(session, input);
  const said = { stdout: '', stderr: '' };
  for await (const { stream, bytes } of session.output) said[stream] += Buffer.from(bytes).toString('utf8');
  await given;
  return { code: await session.ended, out: said.stdout, err: said.stderr };
}

async function feed(session: ExecSession, input: string): Promise<void> {
  if (input !== '') await session.write(Buffer.from(input));
  session.closeInput();
}

/** Someone at the keyboard of a terminal: what was said so far, and a wait for more. */
export class Typist {
  readonly #session: ExecSession;
  readonly #done: Promise<void>;
  #heard = '';
  #listeners = new Set<() => void>();

  constructor(session: ExecSession) {
    this.#session = session;
    this.#done = this.#listen();
  }

  get heard(): string {
    return this.#heard;
  }

  async type(text: string): Promise<void> {
    await this.#session.write(Buffer.from(text));
  }

  /** Resolves once the terminal has shown `text`; fails when it ends without. */
  async sees(text: string): Promise<void> {
    while (!this.#heard.includes(text)) {
      const more = new Promise<void>((resolve) => this.#listeners.add(resolve));
      const isOver = await Promise.race([more.then(() => false), this.#done.then(() => true)]);
      if (isOver && !this.#heard.includes(text)) {
        throw new Error(`the terminal ended without "${text}": ${JSON.stringify(this.#heard)}`);
      }
    }
  }

  /** The exit code, when all was heard. */
  async ended(): Promise<number> {
    await this.#done;
    return this.#session.ended;
  }

  async #listen(): Promise<void> {
    for await (const { bytes } of this.#session.output) {
      this.#heard += Buffer.from(bytes).toString('utf8');
      for (const listener of this.#listeners) listener();
      this.#listeners.clear();
    }
  }
}
