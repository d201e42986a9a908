import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 2 of 8', () => {
  it('keep every invariant from seed 64 on', () => {
    runBatch(64, SEEDS_A_FILE);
  });
});
