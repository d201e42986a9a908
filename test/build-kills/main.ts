/**
 * `npm run test:build-kills [-- --trials N] [--seed N]`: agents killed at random points of builds, and what the next one finds. Ends
 * with 1 at the first that is not as it should be, and names its seed.
 */
import { Dice } from '../sim/dice.ts';
import { killTrial } from '../support/build-kills.ts';
import { NativeWorld } from '../support/native-world.ts';
import { numberFlags } from '../support/number-flags.ts';

/** Events of two builds and a bit. */
const LINES_MAX = 60;

const { trials, seed } = numberFlags({ trials: 50, seed: 1 });
const dice = new Dice(seed);
const place = new NativeWorld();
try {
  for (let trial = 1; trial <= trials; trial += 1) {
    const lines = dice.between(1, LINES_MAX);
    const wrong = await killTrial(place, lines);
    console.log(`${trial}: killed after ${lines} events: ${wrong.length === 0 ? 'as it should be' : wrong.join('; ')}`);
    if (wrong.length === 0) continue;
    console.error(`failed with --seed ${seed}`);
    process.exitCode = 1;
    break;
  }
} finally {
  await place.destroy();
}
