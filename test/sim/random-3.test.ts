import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 3 of 4', () => {
  it('keep every invariant from seed 251 on', () => {
    runBatch(251, SEEDS_A_FILE);
  });
});
