/** A file in pieces, the next of which is read while its reader works on the one before. */
import { type FileHandle, open } from 'node:fs/promises';

/** Larger ones than Node's 64 KiB save turns of the event loop. */
const PIECE_BYTES = 512 * 1024;

/** The file's bytes from `offset` to its end. Throws what the system says. */
export async function* piecesOf(path: string, offset = 0): AsyncGenerator<Buffer> {
  const file = await open(path, 'r');
  let ahead = pieceAt(file, offset);
  try {
    for (let at = offset; ; ) {
      const piece = await ahead;
      if (piece.length === 0) return;
      at += piece.length;
      ahead = pieceAt(file, at);
      // Looked at in the next turn, or not at all when the reader leaves.
      ahead.catch(() => undefined);
      yield piece;
    }
  } finally {
    // A file is not closed while it is being read.
    await ahead.catch(() => undefined);
    await file.close();
  }
}

async function pieceAt(file: FileHandle, position: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.allocUnsafeSlow(PIECE_BYTES), position });
  return buffer.subarray(0, bytesRead);
}
