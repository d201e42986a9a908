import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 7 of 8', () => {
  it('keep every invariant from seed 379 on', () => {
    runBatch(379, SEEDS_A_FILE);
  });
});
