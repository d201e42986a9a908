/** `npm run sim -- --seed N` replays one random run and prints its story; `--from A --to B` only says which seeds break. */
import { numberFlags } from '../support/number-flags.ts';
import { Meetings } from './meetings.ts';
import { runSeed, SeedFailure } from './random.ts';

const flags = numberFlags<'seed' | 'from' | 'to'>({ seed: Number.NaN, from: 1, to: 100 });

if (Number.isNaN(flags.seed)) sweep(flags.from, flags.to);
else replay(flags.seed);

function replay(seed: number): void {
  try {
    const { cluster, events, steps, commits } = runSeed({ seed, tells: true });
    console.log(cluster.world.story.join('\n'));
    console.log(`seed ${seed} holds: ${events} events, ${steps} steps, ${commits} commits`);
  } catch (cause) {
    if (!(cause instanceof SeedFailure)) throw cause;
    console.log(cause.cluster.world.story.join('\n'));
    console.log(cause.message);
    if (cause.cause instanceof Error) console.log(cause.cause.stack);
    process.exitCode = 1;
  }
}

function sweep(from: number, to: number): void {
  const meetings = new Meetings();
  let broken = 0;
  for (let seed = from; seed <= to; seed++) {
    try {
      runSeed({ seed }, meetings);
    } catch (cause) {
      broken++;
      console.log(cause instanceof Error ? cause.message : String(cause));
    }
  }
  console.log(meetings.table());
  console.log(`${to - from + 1} seeds, ${broken} broken`);
  if (broken > 0) process.exitCode = 1;
}
