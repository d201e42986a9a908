/**
 * `npm run test:image-kills [-- --kills N] [--seed N]`: an agent is killed N times while it pulls, unpacks and removes images.
 * Prints each kill; ends with 1 when the next agent finds anything but whole images, or files that nobody owns. Ctrl-C removes
 * what is there and ends with 130.
 */
import { Dice } from '../sim/dice.ts';
import { imageKillTrial } from '../support/image-kill-trial.ts';
import { numberFlags } from '../support/number-flags.ts';

/** Exit code after Ctrl-C, as in shells. */
const INTERRUPTED = 130;

const { kills, seed } = numberFlags({ kills: 50, seed: 1 });
const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));

const faults = await imageKillTrial({
  kills,
  dice: new Dice(seed),
  signal: stop.signal,
  onKill: (number, ms) => console.log(`kill ${number} of ${kills}, after ${ms} ms`),
}).catch((cause: unknown) => {
  if (stop.signal.aborted) return [];
  throw cause;
});
for (const fault of faults) console.log(`NOT CORRECT: ${fault}`);
console.log(faults.length === 0 ? 'every image whole, no file too many' : `${faults.length} faults`);
process.exit(stop.signal.aborted ? INTERRUPTED : Math.min(faults.length, 1));
