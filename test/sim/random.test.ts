import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 1 of 8', () => {
  it('keep every invariant from seed 1 on', () => {
    runBatch(1, SEEDS_A_FILE);
  });
});
