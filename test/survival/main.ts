/**
 * `npm run test:survival [-- --containers N] [--kills N] [--away SECONDS] [--lines PER_SECOND] [--life SECONDS] [--seed N]`:
 * containers whose agent is killed -9 at random moments, again and again, and once kept away. Ends with 1 when a process is
 * another than before, an exit is lost, a line is lost or doubled, or anything is left.
 */
import { fileURLToPath } from 'node:url';
import { Dice } from '../sim/dice.ts';
import { leftovers } from '../support/native-leftovers.ts';
import { NativeWorld } from '../support/native-world.ts';
import { numberFlags } from '../support/number-flags.ts';
import { SURVIVAL_MARK, SurvivalConduct } from '../support/survival-trial.ts';

const flags = numberFlags({ containers: 200, kills: 50, away: 600, lines: 10_000, life: 12, seed: 1 });

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));
const trial = {
  agent: fileURLToPath(new URL('../support/survivor-agent.ts', import.meta.url)),
  containers: flags.containers,
  kills: flags.kills,
  linesPerSecond: flags.lines,
  lifeMs: flags.life * 1_000,
  absentMs: flags.away * 1_000,
  tell: (line: string) => console.log(line),
  signal: stop.signal,
};
const world = new NativeWorld();
let faults: readonly string[] = ['the run did not end'];
try {
  const { faults: found, ...outcome } = await new SurvivalConduct(world, trial, new Dice(flags.seed)).run();
  console.log(outcome);
  faults = [...found, ...(await leftovers(world, SURVIVAL_MARK)).map((line) => `left: ${line}`)];
} finally {
  await world.destroy();
}
for (const line of faults) console.log(line);
console.log(faults.length === 0 ? 'everything survived' : `${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
