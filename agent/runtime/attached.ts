/** A container's own streams as a session, as a command's: what it says, a way to its input, its end. */
import type { Socket } from 'node:net';
import { withResolvers } from '../../common/iterate.ts';
import type { Listening } from '../../native/exec.ts';
import { merge } from '../logs/merge.ts';
import type { ExecChunk, ExecSession, TerminalSize } from './exec.ts';
import { chunksOf, opened } from './exec-session.ts';
import type { Exit } from './runtime.ts';

export interface AttachedTo {
  /** Its exit code; never rejects. */
  readonly ended: Promise<number>;
  readonly resize: (size: TerminalSize) => Promise<void>;
}

/** Leaving it, in whatever way, leaves the container as it is. */
export class AttachedSession implements ExecSession {
  readonly output: AsyncIterable<ExecChunk>;
  readonly ended: Promise<number>;
  readonly #container: AttachedTo;
  readonly #isTerminal: boolean;
  readonly #io: Socket;
  readonly #err: Socket;
  #isDetached = false;

  constructor({ io, stderr, isTerminal }: Listening, container: AttachedTo) {
    this.#container = container;
    this.#isTerminal = isTerminal;
    this.ended = container.ended;
    this.#io = opened(io, { readable: true, writable: true });
    this.#err = opened(stderr, { readable: true, writable: false });
    // The shim alone holds their other ends, and closes them behind the container's last words.
    const never = withResolvers<number>().promise;
    this.output = merge([chunksOf(this.#io, 'stdout', never, () => 0), chunksOf(this.#err, 'stderr', never, () => 0)]);
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#io.writable || this.#io.write(bytes)) return;
    const room = withResolvers<void>();
    const done = (): void => room.resolve();
    this.#io.once('drain', done).once('close', done);
    await room.promise;
    this.#io.off('drain', done).off('close', done);
  }

  closeInput(): void {
    if (!this.#isTerminal) this.#io.end();
  }

  resize(size: TerminalSize): void {
    // One that has ended has no terminal any more.
    if (this.#isTerminal) this.#container.resize(size).catch(() => {});
  }

  kill(): void {
    this.#io.destroy();
    this.#err.destroy();
  }

  detach(): void {
    this.#isDetached = true;
    this.kill();
  }

  get isDetached(): boolean {
    return this.#isDetached;
  }
}

/** As shells say it; an end of which nobody knows more is a failure. */
export function codeOf({ code, signal }: Pick<Exit, 'code' | 'signal'>): number {
  if (code !== null) return code;
  return signal === null ? 255 : 128 + signal;
}
