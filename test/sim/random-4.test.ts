import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 4 of 8', () => {
  it('keep every invariant from seed 190 on', () => {
    runBatch(190, SEEDS_A_FILE);
  });
});
