import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { systemClock } from '../../../common/clock.ts';
import { takeDirectory } from '../../../manager/directory.ts';
import { say } from '../../support/dev-cluster.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';

const signal = AbortSignal.timeout(30_000);
const directories: string[] = [];
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
});

async function directory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'covey-manager-'));
  directories.push(made);
  return made;
}

const manager = (args: readonly string[]) => say(process.execPath, ['--import', 'tsx', 'manager/main.ts', ...args]);

it('keeps the id that a manager made on its directory', async () => {
  const path = await directory();
  const first = await takeDirectory(path, systemClock, signal);
  first.release();
  const second = await takeDirectory(path, systemClock, signal);
  second.release();
  expect(second.managerId).toBe(first.managerId);
  expect((await readFile(join(path, 'manager-id'), 'utf8')).trim()).toBe(first.managerId);
});

it('refuses a second manager on one directory, naming it', async () => {
  const path = await directory();
  const first = await takeDirectory(path, systemClock, signal);
  const clock = new FakeClock();
  let refused: unknown;
  takeDirectory(path, clock, signal).catch((cause: unknown) => {
    refused = cause;
  });
  for (let tries = 0; tries < 5_000 && refused === undefined; tries += 1) {
    await settle();
    clock.advance(100);
  }
  expect(refused).toMatchObject({
    code: 'exists',
    message: `another manager runs on ${path}`,
    field: 'state-dir',
  });
  first.release();
});

it('refuses a damaged id rather than making a second one', async () => {
  const path = await directory();
  await writeFile(join(path, 'manager-id'), 'nonsense');
  await expect(takeDirectory(path, systemClock, signal)).rejects.toMatchObject({ code: 'invalid' });
});

it('refuses unknown settings, words and test switches with exit code 2', { timeout: 60_000 }, async () => {
  for (const [args, words] of [
    [['run', '--no-such-flag'], 'no-such-flag'],
    [['walk'], '"walk" is not understood'],
    [['run', '--unsafe-skip-drain'], 'this switch is for tests only'],
  ] as const) {
    const said = await manager(args);
    expect(said.code, words).toBe(2);
    expect(said.err).toContain(words);
  }
});
