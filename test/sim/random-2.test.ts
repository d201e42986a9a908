import { describe, it } from 'vitest';
import { runBatch, SEEDS_A_FILE } from './batch.ts';

describe('random runs, part 2 of 4', () => {
  it('keep every invariant from seed 126 on', () => {
    runBatch(126, SEEDS_A_FILE);
  });
});
