import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { Dice } from '../../sim/dice.ts';
import { holdings, leakTrial } from '../../support/leak-trial.ts';
import { leftovers } from '../../support/native-leftovers.ts';
import { NativeWorld } from '../../support/native-world.ts';
import { testFile } from '../../support/test-file.ts';
import { until } from '../../support/until.ts';

const MARK = `leak-${process.pid}-`;
const SETTLED_MS = 20_000;
const SEED = 1;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld({ shimPath: testFile('covey-shim-faults') });
});
afterAll(() => world.destroy());

it('leaves nothing on the machine and holds nothing after 300 containers, half of them killed on the way', async () => {
  const dice = new Dice(SEED);
  const trial = { starts: 300, concurrency: 4, faults: 0.5, mark: MARK };
  // Threads and files that are made once.
  await leakTrial(world, { ...trial, starts: 20, mark: `${MARK}first-` }, dice);
  const before = holdings();
  const { ended, refused } = await leakTrial(world, trial, dice);
  expect(ended + refused).toBe(trial.starts);
  expect(refused).toBeGreaterThan(50);
  await until('nothing is left', SETTLED_MS, async () => (await leftovers(world, MARK)).length === 0);
  const { descriptors, threads } = holdings();
  expect({ descriptors, threads }).toEqual({ descriptors: before.descriptors, threads: before.threads });
});

it('takes away what it has made when the long run is ended by Ctrl-C', async () => {
  const args = ['--import', 'tsx', 'test/leaks/main.ts', '--starts', '100000'];
  const run = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  run.stdout.on('data', (text) => {
    said += text;
  });
  const code = once(run, 'close');
  const root = native().cgroupFolder('freezer', '/') ?? '';
  const parentsOf = () => readdirSync(root).filter((name) => name.startsWith(`covey-test-${run.pid}-`));
  await until('it has containers', SETTLED_MS, () =>
    parentsOf().some((name) => readdirSync(join(root, name)).some((each) => each.startsWith('leak-'))),
  );
  run.kill('SIGINT');
  expect(await code).toEqual([130, null]);
  expect(said).toContain('ended by SIGINT');
  expect(parentsOf()).toEqual([]);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith(`covey-test-${run.pid}-`))).toEqual([]);
});
