/** A streaming command of the native core as the contract wants it: descriptors in, chunks at the reader's pace out. */
import { Socket } from 'node:net';
import { withResolvers } from '../../common/iterate.ts';
import type { ExecStream } from '../../native/exec.ts';
import type { Addon } from '../../native/index.ts';
import { merge } from '../logs/merge.ts';
import type { ExecChunk, ExecSession, TerminalSize } from './exec.ts';
import { runtimeError } from './runtime-error.ts';

export class NativeExecSession implements ExecSession {
  readonly #stream: ExecStream;
  readonly #input: Socket | undefined;
  #room: Promise<void> | undefined;
  readonly output: AsyncIterable<ExecChunk>;
  readonly ended: Promise<number>;

  #isDetached: boolean;

  /** @param what  the object that errors name */
  constructor(stream: ExecStream, addon: Pick<Addon, 'waitingBytes'>, what: string) {
    this.#stream = stream;
    this.#isDetached = stream.terminal === null && stream.stdout === null;
    this.ended = stream.ended.catch((cause: unknown) => {
      throw runtimeError(cause, what);
    });
    // Whether anybody waits for it is the caller's matter.
    this.ended.catch(() => {});
    const { stdin, stdout, stderr, terminal } = stream;
    const duplex = terminal === null ? undefined : opened(terminal, { readable: true, writable: true });
    this.#input = duplex ?? (stdin === null ? undefined : opened(stdin, { readable: false, writable: true }));
    const outlets: AsyncIterable<ExecChunk>[] = [];
    const add = (socket: Socket, fd: number, name: ExecChunk['stream']): void => {
      outlets.push(chunksOf(socket, name, this.ended, () => addon.waitingBytes(fd)));
    };
    if (duplex !== undefined && terminal !== null) add(duplex, terminal, 'stdout');
    if (stdout !== null) add(opened(stdout, { readable: true, writable: false }), stdout, 'stdout');
    if (stderr !== null) add(opened(stderr, { readable: true, writable: false }), stderr, 'stderr');
    this.output = merge(outlets);
    this.ended.then(
      () => this.#input?.destroySoon(),
      () => this.#input?.destroy(),
    );
  }

  async write(bytes: Uint8Array): Promise<void> {
    const input = this.#input;
    if (input === undefined || !input.writable || input.write(bytes)) return;
    this.#room ??= this.#roomIn(input);
    await this.#room;
  }

  /** One for all that wait: what was written comes in any number of pieces. */
  async #roomIn(input: Socket): Promise<void> {
    const room = withResolvers<void>();
    const done = (): void => room.resolve();
    input.once('drain', done).once('close', done);
    await room.promise;
    input.off('drain', done).off('close', done);
    this.#room = undefined;
  }

  closeInput(): void {
    // A terminal's other direction goes on.
    if (this.#stream.terminal === null) this.#input?.end();
  }

  resize({ rows, columns }: TerminalSize): void {
    this.#stream.resize(rows, columns);
  }

  get isDetached(): boolean {
    return this.#isDetached;
  }

  detach(): void {
    if (this.#stream.terminal === null || this.#isDetached) return;
    this.#isDetached = true;
    this.#stream.detach();
    this.#input?.destroy();
  }

  kill(): void {
    this.#stream.kill();
  }
}

/** A descriptor as a socket of ours. */
export function opened(fd: number, sides: { readonly readable: boolean; readonly writable: boolean }): Socket {
  const socket = new Socket({ fd, ...sides, allowHalfOpen: true });
  // A command that reads no more, or has ended: `close` follows, and that is what everybody waits for.
  socket.on('error', () => {});
  return socket;
}

/**
 * What the command wrote. A pipe that a process it left behind still holds would never end: when the command has, what
 * waits in the pipe is the last.
 */
export async function* chunksOf(
  socket: Socket,
  stream: ExecChunk['stream'],
  ended: Promise<number>,
  waiting: () => number,
): AsyncIterable<ExecChunk> {
  let isOver = false;
  let hasEnded = false;
  let turn = withResolvers<void>();
  const ring = (): void => turn.resolve();
  const finish = (): void => {
    isOver = true;
    ring();
  };
  socket.on('readable', ring).on('end', finish).on('close', finish);
  const onEnd = (): void => {
    hasEnded = true;
    ring();
  };
  ended.then(onEnd, onEnd);
  try {
    for (;;) {
      turn = withResolvers<void>();
      const bytes = socket.read() as Buffer | null;
      if (bytes !== null) {
        yield { stream, bytes };
        continue;
      }
      // A socket that was closed has no descriptor to ask, and says so later. One that ended before we listened says nothing more.
      if (isOver || socket.destroyed || socket.readableEnded || (hasEnded && waiting() === 0)) return;
      await turn.promise;
    }
  } finally {
    socket.destroy();
  }
}
