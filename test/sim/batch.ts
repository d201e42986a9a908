/** Runs a range of seeds as one test file's share, and prints which faults met which states. */
import { expect } from 'vitest';
import { Meetings } from './meetings.ts';
import { EVENTS, runSeed } from './random.ts';

/** Seeds of one test file; eight files make the 504 of a CI run. */
export const SEEDS_A_FILE = 63;

/** Every seed of the range is run, so that one report names all that break. */
export function runBatch(first: number, count: number): void {
  const meetings = new Meetings();
  const broken: string[] = [];
  for (let seed = first; seed < first + count; seed++) {
    try {
      const { events } = runSeed({ seed }, meetings);
      if (events < EVENTS) broken.push(`seed ${seed} had only ${events} events`);
    } catch (cause) {
      broken.push(cause instanceof Error ? cause.message : String(cause));
    }
  }
  console.log(`seeds ${first} to ${first + count - 1}\n${meetings.table()}`);
  expect(broken).toEqual([]);
}
