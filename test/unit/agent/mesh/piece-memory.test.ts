import { describe, expect, it } from 'vitest';
import { PieceMemory } from '../../../../agent/mesh/piece-memory.ts';
import { PIECE_BYTES } from '../../../../common/oci/cut.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('memory of pieces', () => {
  it('is used again once it was given back, and not before', () => {
    const memory = new PieceMemory(new FakeClock());
    const first = memory.take(10);
    expect(first.length).toBe(10);
    expect(memory.take(10).buffer).not.toBe(first.buffer);
    memory.give(first);
    const again = memory.take(PIECE_BYTES);
    expect(again.buffer).toBe(first.buffer);
    expect(again.length).toBe(PIECE_BYTES);
  });

  it('is lent to one only, whatever is given back twice or was never from here', () => {
    const memory = new PieceMemory(new FakeClock());
    const lent = memory.take(10);
    memory.give(lent);
    memory.give(lent);
    const stranger = Buffer.allocUnsafeSlow(PIECE_BYTES);
    memory.give(stranger);
    const next = [memory.take(10), memory.take(10), memory.take(10)].map(({ buffer }) => buffer);
    expect(new Set(next).size).toBe(3);
    expect(next).not.toContain(stranger.buffer);
  });

  it('goes back to the system when nobody wanted any for a while', () => {
    const clock = new FakeClock();
    const memory = new PieceMemory(clock);
    const lent = memory.take(10);
    memory.give(lent);
    clock.advance(20_000);
    expect(memory.take(10).buffer).not.toBe(lent.buffer);
  });

  it('is of its own for a piece that is larger than others', () => {
    const memory = new PieceMemory(new FakeClock());
    const large = memory.take(PIECE_BYTES + 1);
    memory.give(large);
    expect(memory.take(10).buffer).not.toBe(large.buffer);
  });
});
