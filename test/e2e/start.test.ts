/** `npm start`: from nothing to a service that answers, and back to nothing. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { VERSION } from '../../common/version.ts';
import { type Background, background } from '../support/background.ts';
import { ask } from '../support/load.ts';
import { machineSnapshot, untilAsBefore } from '../support/machine-snapshot.ts';
import { clusterDirectory, START, startDemo } from '../support/start-demo.ts';
import { until } from '../support/until.ts';

const directories: string[] = [];
const running: Background[] = [];

afterEach(async () => {
  for (const demo of running.splice(0)) demo.signal('SIGKILL');
  for (const dir of directories.splice(0)) await startDemo(dir, '--clean');
});

function directory(): string {
  const dir = clusterDirectory();
  directories.push(dir);
  return dir;
}

/** Runs it in the foreground. */
function foreground(...args: readonly string[]): Background {
  const demo = background(process.execPath, [START, ...args]);
  running.push(demo);
  return demo;
}

/** The URL that it printed. */
function urlIn(out: string): string {
  return /(http:\/\/\S+:8080)/.exec(out)?.[1] ?? '';
}

it('brings up two clusters side by side, tells what is there and what to try, and leaves nothing behind', async () => {
  const before = machineSnapshot();
  const [one, two] = [directory(), directory()];
  const [first, second] = await Promise.all([startDemo(one, '--detach'), startDemo(two, '--detach', '--hosts', '2')]);
  expect(first.code, first.err).toBe(0);
  expect(second.code, second.err).toBe(0);
  expect(first.out).toMatch(/n1 +Ready[\s\S]*n2 +Ready[\s\S]*n3 +Ready/);
  expect(first.out.match(/web\.\d .*Running/g)).toHaveLength(3);
  expect(first.out.split('Try in another terminal:')[1]?.match(/^ {2}(curl|npx|deploy)/gm)).toHaveLength(5);
  expect(first.out).toContain(`export COVEY_CONTEXT=${one}/context.json`);
  for (const said of [first, second]) expect((await ask(urlIn(said.out))).version).toBe('1');
  expect(urlIn(first.out)).not.toBe(urlIn(second.out));

  const again = await startDemo(one, '--detach');
  expect(again.code, again.err).toBe(0);
  expect(again.out).toContain('is running');
  expect(again.out.match(/web\.\d .*Running/g)).toHaveLength(3);

  for (const dir of [one, two]) {
    const stopped = await startDemo(dir, '--stop');
    expect(stopped.code, stopped.err).toBe(0);
    expect(stopped.out).toContain('removed the cluster');
  }
  await untilAsBefore(before, one, two);
});

it('says that another version made the cluster, removes it and starts anew; Ctrl-C leaves nothing', async () => {
  const before = machineSnapshot();
  const dir = directory();
  expect((await startDemo(dir, '--detach', '--hosts', '1')).code).toBe(0);
  const file = join(dir, 'cluster.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace(`"version": "${VERSION}"`, '"version": "0.0.1"'));

  const demo = foreground('--dir', dir, '--hosts', '1');
  await until(
    'it is ready',
    120_000,
    () => demo.said().includes('Ctrl-C removes everything') || demo.code() !== undefined,
  );
  expect(demo.said()).toMatch(/made by version 0\.0\.1.*removing it/);
  expect((await ask(urlIn(demo.said()))).version).toBe('1');
  demo.signal('SIGINT');
  await until('it has ended', 60_000, () => demo.code() !== undefined);
  expect(demo.code(), demo.said()).toBe(0);
  await untilAsBefore(before, dir);
});

it('is interrupted while it comes up, and leaves nothing', async () => {
  const before = machineSnapshot();
  const dir = directory();
  const demo = foreground('--dir', dir, '--hosts', '1');
  await until('managers start', 60_000, () => demo.said().includes('starting the managers'));
  demo.signal('SIGINT');
  await until('it has ended', 60_000, () => demo.code() !== undefined);
  expect(demo.code(), demo.said()).toBe(130);
  await untilAsBefore(before, dir);
});
