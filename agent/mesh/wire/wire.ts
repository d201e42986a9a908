/** One connection between two nodes: a TLS socket in; frames both ways, at its pace, until one end is silent or has gone. */
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../../common/clock.ts';
import { ClusterError, messageOf } from '../../../common/errors.ts';
import { encodeFrame, type Frame, FrameReader, KIND, type PieceRoom } from './frames.ts';

/** The caller shows that it lives so often; the other side answers. */
const LIFE_MS = 5_000;
/** From whom nothing came for so long is gone. */
const SILENT_MS = 15_000;

const NOTHING = new Uint8Array(0);

export interface WireOptions {
  readonly socket: TLSSocket;
  /** What errors call the other end. */
  readonly name: string;
  /** The caller breaks the silence. */
  readonly isCaller: boolean;
  /** Absent: the other side sends none. */
  readonly pieces?: PieceRoom;
  readonly clock: Clock;
  readonly onFrame: (frame: Frame) => void;
  /** Called once, however it ends. */
  readonly onClosed: (cause: ClusterError) => void;
}

export class Wire {
  readonly #options: WireOptions;
  readonly #frames: FrameReader;
  /** Who waits until there is room to send. */
  #waiting: (() => void)[] = [];
  #cause: ClusterError | undefined;
  #heardAt: number;
  #rest: () => void = () => {};

  constructor(options: WireOptions) {
    this.#options = options;
    const { socket, clock, pieces } = options;
    this.#frames = new FrameReader(pieces, (frame) => this.#hear(frame));
    this.#heardAt = clock.now();
    socket.on('drain', () => this.#wake());
    socket.on('error', (cause) => this.close(this.#gone(cause)));
    socket.on('close', () => this.#closed());
    this.#watch();
  }

  /** Why nothing can be sent any more; undefined while something can. */
  get cause(): ClusterError | undefined {
    return this.#cause;
  }

  /** Takes what has arrived; its memory is not kept. */
  take(bytes: Uint8Array): void {
    this.#heardAt = this.#options.clock.now();
    try {
      this.#frames.take(bytes);
    } catch (cause) {
      // A frame or a message that is none: nothing after it can be understood either.
      const { name } = this.#options;
      this.close(new ClusterError('invalid', `what ${name} sends is not understood: ${messageOf(cause)}`, { cause }));
    }
  }

  /** Resolves when there is room for more and `piece` is not read any more, or the connection has ended. */
  async send(call: number, kind: Frame['kind'], message: Uint8Array, piece: Uint8Array = NOTHING): Promise<void> {
    if (this.#cause !== undefined) return;
    const { socket } = this.#options;
    const hasRoom = socket.write(encodeFrame(call, kind, message, piece.length));
    // Its end tells an error too, which the socket's own event tells as well.
    if (piece.length > 0) await new Promise<void>((gone) => socket.write(piece, () => gone()));
    else if (!hasRoom) await new Promise<void>((resume) => this.#waiting.push(resume));
  }

  /** Ends it at once. */
  close(cause: ClusterError): void {
    this.#cause ??= cause;
    this.#options.socket.destroy();
  }

  #hear(frame: Frame): void {
    if (frame.kind !== KIND.life) this.#options.onFrame(frame);
    // Nothing to wait for: it is a few bytes, and nobody listens for them.
    else if (!this.#options.isCaller) void this.send(0, KIND.life, NOTHING);
  }

  #watch(): void {
    const { clock, isCaller, name } = this.#options;
    this.#rest = clock.after(LIFE_MS, () => {
      const silentMs = clock.now() - this.#heardAt;
      if (silentMs >= SILENT_MS) {
        this.close(new ClusterError('unavailable', `nothing has come from ${name} for ${SILENT_MS} ms`));
        return;
      }
      if (isCaller && silentMs >= LIFE_MS) void this.send(0, KIND.life, NOTHING);
      this.#watch();
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #closed(): void {
    this.#rest();
    this.#cause ??= this.#gone(undefined);
    this.#wake();
    this.#options.onClosed(this.#cause);
  }

  #gone(cause: Error | undefined): ClusterError {
    if (cause instanceof ClusterError) return cause;
    const why = cause === undefined ? 'has ended the connection' : `cannot be talked to: ${cause.message}`;
    return new ClusterError('unavailable', `${this.#options.name} ${why}`, { cause });
  }
}
