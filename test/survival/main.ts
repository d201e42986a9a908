/**
 * `npm run test:survival [-- --containers N] [--kills N] [--away SECONDS] [--lines PER_SECOND] [--life SECONDS] [--seed N]`:
 * containers whose agent is killed -9 at random moments, again and again, and once kept away. Ends with 1 when a process is
 * another than before, an exit is lost, a line is lost or doubled, or anything is left.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Dice } from '../sim/dice.ts';
import { leftovers } from '../support/native-leftovers.ts';
import { NativeWorld } from '../support/native-world.ts';
import { SURVIVAL_MARK, SurvivalConduct } from '../support/survival-trial.ts';

const { values } = parseArgs({
  options: {
    containers: { type: 'string', default: '200' },
    kills: { type: 'string', default: '50' },
    away: { type: 'string', default: '600' },
    lines: { type: 'string', default: '10000' },
    life: { type: 'string', default: '12' },
    seed: { type: 'string', default: '1' },
  },
});

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));
const trial = {
  agent: fileURLToPath(new URL('../support/survivor-agent.ts', import.meta.url)),
  containers: Number(values.containers),
  kills: Number(values.kills),
  linesPerSecond: Number(values.lines),
  lifeMs: Number(values.life) * 1_000,
  absentMs: Number(values.away) * 1_000,
  tell: (line: string) => console.log(line),
  signal: stop.signal,
};
const world = new NativeWorld();
let faults: readonly string[] = ['the run did not end'];
try {
  const { faults: found, ...outcome } = await new SurvivalConduct(world, trial, new Dice(Number(values.seed))).run();
  console.log(outcome);
  faults = [...found, ...(await leftovers(world, SURVIVAL_MARK)).map((line) => `left: ${line}`)];
} finally {
  await world.destroy();
}
for (const line of faults) console.log(line);
console.log(faults.length === 0 ? 'everything survived' : `${faults.length} faults`);
process.exitCode = faults.length === 0 ? 0 : 1;
