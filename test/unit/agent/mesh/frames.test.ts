import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeFrame, type Frame, FrameReader, HEADER_BYTES, KIND } from '../../../../agent/mesh/wire/frames.ts';

const room = (bytesMax: number) => ({ bytesMax, take: (length: number) => Buffer.alloc(length) });

function read(bytes: Buffer, cuts: readonly number[], bytesMax = 1_000): Frame[] {
  const frames: Frame[] = [];
  const reader = new FrameReader(bytesMax === 0 ? undefined : room(bytesMax), (frame) => frames.push(frame));
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  for (const [at, from] of [0, ...places].entries()) reader.take(bytes.subarray(from, places[at] ?? bytes.length));
  return frames;
}

const anyFrame = fc.record({
  call: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  kind: fc.constantFrom(KIND.message, KIND.end, KIND.life),
  message: fc.uint8Array({ maxLength: 300 }),
  piece: fc.uint8Array({ maxLength: 300 }),
});

describe('frames', () => {
  it('are the same however they are cut on their way', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 12 }), (frames, cuts) => {
        const bytes = Buffer.concat(
          frames.flatMap(({ call, kind, message, piece }) => [encodeFrame(call, kind, message, piece.length), piece]),
        );
        const found = read(bytes, cuts).map(({ piece = Buffer.alloc(0), ...rest }) => ({ ...rest, piece }));
        expect(found).toEqual(
          frames.map((frame) => ({
            ...frame,
            message: Buffer.from(frame.message),
            piece: Buffer.from(frame.piece),
          })),
        );
      }),
    );
  });

  it('that are of no known kind, or too long, are refused before anything of them is kept', () => {
    const frame = (kind: number, message: number, piece: number): Buffer => {
      const header = Buffer.alloc(HEADER_BYTES);
      header.writeUInt32BE(message, 4);
      header.writeUInt8(kind, 4);
      header.writeUInt32BE(piece, 8);
      return header;
    };
    expect(() => read(frame(9, 0, 0), [])).toThrow('no frame begins so');
    expect(() => read(frame(1, 1_000_000, 0), [])).toThrow('no frame begins so');
    expect(() => read(frame(1, 0, 1_001), [])).toThrow('no frame begins so');
    expect(read(frame(1, 0, 0), [])).toHaveLength(1);
  });

  it('bring no pieces where none are taken', () => {
    expect(() => read(encodeFrame(1, KIND.message, new Uint8Array(0), 1), [], 0)).toThrow('no frame begins so');
  });
});
