import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 3 of 8', () => {
  it('keep every invariant from seed 127 on', () => {
    runBatch(127, SEEDS_A_FILE);
  });
});
