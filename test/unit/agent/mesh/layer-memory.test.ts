import { describe, expect, it } from 'vitest';
import { LayerMemory } from '../../../../agent/mesh/layer-memory.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

describe('memory that is lent', () => {
  it('is used again when the last who needed it does no more', () => {
    const memory = new LayerMemory(new FakeClock());
    const lent = memory.take(100);
    memory.keep(lent.subarray(10, 20));
    memory.release(lent);
    expect(memory.take(100).buffer).not.toBe(lent.buffer);
    memory.release(lent.subarray(10, 20));
    expect(memory.take(100).buffer).toBe(lent.buffer);
  });

  it('leaves alone what was not lent, and what was given back too often', () => {
    const memory = new LayerMemory(new FakeClock());
    const stranger = Buffer.alloc(10);
    memory.keep(stranger);
    memory.release(stranger);
    const lent = memory.take(100);
    memory.release(lent);
    memory.release(lent);
    expect(memory.take(1).buffer).not.toBe(memory.take(1).buffer);
  });
});
