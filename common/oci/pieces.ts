/** A file in pieces, the next of which is read while its reader works on the one before. */
import { type FileHandle, open } from 'node:fs/promises';

/** Larger ones than Node's 64 KiB save turns of the event loop. */
const PIECE_BYTES = 512 * 1024;

/** Gives memory for pieces and takes it back. */
export interface Lender {
  /** Bytes of what is taken at once. */
  readonly bytesEach: number;
  take(length: number): Buffer;
  release(bytes: Uint8Array): void;
}

const GIVER: Lender = {
  bytesEach: PIECE_BYTES,
  take: (length) => Buffer.allocUnsafeSlow(length),
  release: () => undefined,
};

/**
 * The file's bytes from `offset` to its end. Throws what the system says.
 * @param lender  a piece is good until the next one is asked for; absent: for ever
 */
export async function* piecesOf(path: string, offset = 0, lender = GIVER): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  let ahead = pieceAt(file, offset, lender);
  try {
    for (let at = offset; ; ) {
      const piece = await ahead;
      if (piece.length === 0) return;
      at += piece.length;
      ahead = pieceAt(file, at, lender);
      // Looked at in the next turn, or not at all when the reader leaves.
      ahead.catch(() => undefined);
      try {
        yield piece;
      } finally {
        lender.release(piece);
      }
    }
  } finally {
    // A file is not closed while it is being read.
    const last = await ahead.catch(() => undefined);
    if (last !== undefined) lender.release(last);
    await file.close();
  }
}

async function pieceAt(file: FileHandle, position: number, lender: Lender): Promise<Buffer> {
  const memory = lender.take(lender.bytesEach);
  try {
    const { bytesRead } = await file.read(memory, 0, memory.length, position);
    return memory.subarray(0, bytesRead);
  } catch (cause) {
    lender.release(memory);
    throw cause;
  }
}
