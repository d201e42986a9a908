import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 8 of 8', () => {
  it('keep every invariant from seed 442 on', () => {
    runBatch(442, SEEDS_A_FILE);
  });
});
