/**
 * What nodes say to one another on a connection of their own, as bytes. PURE. In: what arrives, cut anyhow. Out: frames. The bytes
 * of a piece are no field of a message, so that they are copied once: into the piece (ADR 0026).
 *
 *   0  4  the call; 0: the connection itself
 *   4  1  kind
 *   5  3  bytes of the message
 *   8  4  bytes of the piece behind it
 *
 * Numbers are big-endian.
 */
import { ClusterError } from '../../../common/errors.ts';

export const HEADER_BYTES = 12;
/** A list of 8,192 hashes and some more. */
const MESSAGE_BYTES_MAX = 512 * 1024;

/** `end`: nothing more comes of the call; its message is an ErrorInfo, or empty. `life`: an answer to silence. */
export const KIND = { message: 1, end: 2, life: 3 } as const;
type Kind = (typeof KIND)[keyof typeof KIND];

export interface Frame {
  readonly call: number;
  readonly kind: Kind;
  readonly message: Buffer;
  /** Absent: none. */
  readonly piece?: Buffer;
}

/** All of a frame but its piece, which follows. */
export function encodeFrame(call: number, kind: Kind, message: Uint8Array, pieceBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + message.length);
  frame.writeUInt32BE(call, 0);
  frame.writeUInt32BE(message.length, 4);
  frame.writeUInt8(kind, 4);
  frame.writeUInt32BE(pieceBytes, 8);
  frame.set(message, HEADER_BYTES);
  return frame;
}

/** What pieces are put into. */
export interface PieceRoom {
  readonly bytesMax: number;
  readonly take: (length: number) => Buffer;
}

/** Puts frames together from what arrives. */
export class FrameReader {
  readonly #pieces: PieceRoom | undefined;
  readonly #onFrame: (frame: Frame) => void;
  /** What is being filled: a header, then its message, then its piece. */
  #filling: Buffer = Buffer.alloc(HEADER_BYTES);
  #filled = 0;
  #header: { readonly call: number; readonly kind: Kind; readonly pieceBytes: number } | undefined;
  #message: Buffer | undefined;

  /** @param pieces  undefined: the other side sends none */
  constructor(pieces: PieceRoom | undefined, onFrame: (frame: Frame) => void) {
    this.#pieces = pieces;
    this.#onFrame = onFrame;
  }

  /**
   * Takes what has arrived; its memory is not kept.
   * @throws ClusterError `invalid` for what is no frame; nothing of this connection can be understood any more
   */
  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(this.#filling.length - this.#filled, bytes.length - at);
      this.#filling.set(at === 0 && count === bytes.length ? bytes : bytes.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      while (this.#filled === this.#filling.length) this.#next();
    }
  }

  /** What was filled is whole. */
  #next(): void {
    const whole = this.#filling;
    if (this.#header === undefined) {
      this.#header = this.#headerOf(whole);
      this.#fill(Buffer.allocUnsafe(whole.readUIntBE(5, 3)));
      return;
    }
    const { call, kind, pieceBytes } = this.#header;
    if (this.#message === undefined) {
      this.#message = whole;
      if (pieceBytes > 0 && this.#pieces !== undefined) {
        this.#fill(this.#pieces.take(pieceBytes));
        return;
      }
    }
    const frame = { call, kind, message: this.#message, ...(pieceBytes > 0 && { piece: whole }) };
    this.#header = undefined;
    this.#message = undefined;
    this.#fill(Buffer.alloc(HEADER_BYTES));
    this.#onFrame(frame);
  }

  #fill(next: Buffer): void {
    this.#filling = next;
    this.#filled = 0;
  }

  #headerOf(bytes: Buffer): { readonly call: number; readonly kind: Kind; readonly pieceBytes: number } {
    const kind = bytes.readUInt8(4);
    const pieceBytes = bytes.readUInt32BE(8);
    const isKind = kind === KIND.message || kind === KIND.end || kind === KIND.life;
    if (!isKind || bytes.readUIntBE(5, 3) > MESSAGE_BYTES_MAX || pieceBytes > (this.#pieces?.bytesMax ?? 0)) {
      throw new ClusterError('invalid', 'no frame begins so');
    }
    return { call: bytes.readUInt32BE(0), kind, pieceBytes };
  }
}
