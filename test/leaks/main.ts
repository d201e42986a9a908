/**
 * `npm run test:leaks [-- --starts N] [--faults SHARE] [--concurrency N] [--seed N]`: N containers from creation to removal,
 * and what is left of them. Prints what this process holds on the way; ends with 1 when anything is left or grows. With
 * faults, that share of the containers is killed at a sync point. Ctrl-C removes what is there and ends with 130.
 */
import { builtFile } from '../../native/index.ts';
import { Dice } from '../sim/dice.ts';
import { type Holdings, holdings, leakTrial } from '../support/leak-trial.ts';
import { leftovers } from '../support/native-leftovers.ts';
import { NativeWorld } from '../support/native-world.ts';
import { numberFlags } from '../support/number-flags.ts';
import { until } from '../support/until.ts';

const WARM_UP = 500;
const PARTS = 5;
const SETTLED_MS = 60_000;
/** What V8 keeps of a heap that was larger for a while; a leak of one descriptor's worth a container is far beyond. */
const RSS_GROWTH_KIB_MAX = 32_768;
/** Exit code after Ctrl-C, as in shells. */
const INTERRUPTED = 130;
const MARK = `leak-${process.pid}-`;

const { starts, faults, concurrency, seed } = numberFlags({ starts: 10_000, faults: 0, concurrency: 4, seed: 1 });
const dice = new Dice(seed);

const stop = new AbortController();
// More than one of them changes nothing: what was made must go.
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort(new Error(`ended by ${name}`)));

function tell(what: string, held: Holdings, rate = ''): void {
  const { descriptors, threads, rssKib } = held;
  const memory = `${Math.round(rssKib / 1_024)} MiB`;
  console.log(`${what}: ${descriptors} descriptors, ${threads} threads, ${memory}${rate}`);
}

function grown(before: Holdings, after: Holdings): readonly string[] {
  return [
    ...(['descriptors', 'threads'] as const).filter((name) => after[name] > before[name]),
    ...(after.rssKib - before.rssKib > RSS_GROWTH_KIB_MAX ? ['memory'] : []),
  ];
}

async function run(world: NativeWorld): Promise<readonly string[]> {
  const options = { concurrency, faults, signal: stop.signal };
  await leakTrial(world, { ...options, starts: WARM_UP, mark: `${MARK}first-` }, dice);
  const before = holdings();
  tell(`after ${WARM_UP} to warm up`, before);
  for (let part = 1; part <= PARTS; part += 1) {
    const share = Math.ceil(starts / PARTS);
    const { ended, refused, ms } = await leakTrial(world, { ...options, starts: share, mark: `${MARK}${part}-` }, dice);
    const rate = `; ${ended} ended, ${refused} killed on the way, ${Math.round((share / ms) * 1_000)}/s`;
    tell(`after ${part * share} more`, holdings(), rate);
  }
  // What is still there then is named below.
  await until('nothing is left', SETTLED_MS, async () => (await leftovers(world, MARK)).length === 0).catch(
    () => undefined,
  );
  return [...(await leftovers(world, MARK)), ...grown(before, holdings()).map((name) => `${name} grew`)];
}

const world = new NativeWorld({ shimPath: builtFile('covey-shim-faults') });
let left: readonly string[] = [];
try {
  left = await run(world);
  for (const line of left) console.log(`left: ${line}`);
  console.log(left.length === 0 ? 'nothing is left' : `${left.length} things are left`);
  process.exitCode = left.length === 0 ? 0 : 1;
} catch (cause) {
  if (!stop.signal.aborted) throw cause;
  console.log(`${String(stop.signal.reason)}: what it made is removed`);
  process.exitCode = INTERRUPTED;
} finally {
  await world.destroy();
}
