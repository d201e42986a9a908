import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 6 of 8', () => {
  it('keep every invariant from seed 316 on', () => {
    runBatch(316, SEEDS_A_FILE);
  });
});
