import { describe, expect, it } from 'vitest';
import { PLANTED } from './planted.ts';
import { runSeed, SeedFailure } from './random.ts';

/** As many as a CI run of the simulator has. */
const SEEDS = 500;

describe('the simulator finds a planted bug', () => {
  it.each(PLANTED)('when $name', ({ breaks, options }) => {
    let found = '';
    for (let seed = 1; seed <= SEEDS && found === ''; seed++) {
      try {
        runSeed({ seed, ...options });
      } catch (cause) {
        if (!(cause instanceof SeedFailure)) throw cause;
        // Some other invariant may break first by the same bug; what counts is that the run fails for a true reason.
        if (breaks.test(cause.message)) found = cause.message;
      }
    }
    expect(found).toMatch(breaks);
  });
});
