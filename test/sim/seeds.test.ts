import { describe, expect, it } from 'vitest';
import { runSeed } from './random.ts';
import kept from './seeds.json' with { type: 'json' };

describe('seeds that once broke an invariant', () => {
  it.each(kept.seeds)('hold: $seed ($reason)', ({ seed }) => {
    expect(runSeed({ seed }).commits).toBeGreaterThan(0);
  });

  it('replay to the same story every time', () => {
    const story = () => runSeed({ seed: 1, tells: true }).cluster.world.story;
    expect(story()).toEqual(story());
  });
});
