import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 4 of 4', () => {
  it('keep every invariant from seed 376 on', () => {
    runBatch(376, SEEDS_A_FILE);
  });
});
