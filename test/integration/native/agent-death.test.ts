/** The short form of `npm run test:survival`: agents die at random moments, and nothing of the containers is lost. */
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Dice } from '../../sim/dice.ts';
import { leftovers } from '../../support/native-leftovers.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { SURVIVAL_MARK, SurvivalConduct } from '../../support/survival-trial.ts';

const AGENT = fileURLToPath(new URL('../../support/survivor-agent.ts', import.meta.url));

let world: NativeWorld;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(() => world.destroy());

it('keeps 24 containers, their exits and every line of their logs over five agents that are killed at random', async () => {
  const trial = { agent: AGENT, containers: 24, kills: 5, linesPerSecond: 1_000, lifeMs: 2_000, absentMs: 0 };
  const conduct = new SurvivalConduct(world, { ...trial, tell: () => undefined, signal: forever }, new Dice(1));
  const outcome = await conduct.run();
  expect(outcome.faults).toEqual([]);
  expect(outcome.agents).toBe(6);
  expect(outcome.lines).toBeGreaterThan(1_000);
  expect(outcome.followed).toBeGreaterThan(100);
  expect(outcome.exits).toBe(6);
  expect(await leftovers(world, SURVIVAL_MARK)).toEqual([]);
});
