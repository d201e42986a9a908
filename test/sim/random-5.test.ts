import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 5 of 8', () => {
  it('keep every invariant from seed 253 on', () => {
    runBatch(253, SEEDS_A_FILE);
  });
});
