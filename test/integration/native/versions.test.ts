/** Shims and agents of different versions: an upgrade replaces one before the other, and a container may outlive both. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Container, RestartInPlace } from '../../../agent/runtime/runtime.ts';
import { builtFile, native } from '../../../native/index.ts';
import { forever, NativeWorld, until } from '../../support/native-world.ts';

const { SIGTERM } = constants.signals;
const RESTART: RestartInPlace = { condition: 'any', delayMs: 0, maxAttempts: 0, windowMs: 0, used: 0, holdMs: 0 };

let world: NativeWorld;
let oldShim: ChildProcess | undefined;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(async () => {
  oldShim?.kill('SIGKILL');
  oldShim = undefined;
  await world.destroy();
});

const folderOf = (id: string) => join(world.folder, 'state', id);

/** A container of an old agent and its old shim. */
async function anOldContainer(...args: readonly string[]): Promise<string> {
  const folder = folderOf('old');
  mkdirSync(folder, { recursive: true });
  const cgroup = `${world.cgroupParent}/old`;
  await native().cgroupEnsureParent(cgroup);
  const note = { version: 1, id: 'old', cgroup, createdAt: 0, labels: { 'covey.task': 'old' } };
  writeFileSync(join(folder, 'container.json'), JSON.stringify(note));
  writeFileSync(join(folder, 'log'), '');
  oldShim = spawn(builtFile('version1'), ['shim', folder, native().bootId(), ...args], { stdio: 'ignore' });
  await until(() => existsSync(join(folder, 'state.json')), 'the old shim stands');
  return folder;
}

function oldAgent(container: Container, words: string): readonly string[] {
  return execFileSync(builtFile('version1'), ['agent', folderOf(container.id), words], { encoding: 'utf8' }).split(
    '\n',
  );
}

it('commands a container of an old shim in the words it knows, and reads its end', async () => {
  await anOldContainer(builtFile('test-init'), 'sleep');
  expect(await world.runtime.list(forever)).toMatchObject([{ id: 'old', state: 'created', run: 1, pastRuns: [] }]);
  expect(await world.runtime.start('old', forever)).toMatchObject({ state: 'running' });
  world.runtime.close();
  const another = world.newRuntime();
  expect(await another.list(forever)).toMatchObject([{ id: 'old', state: 'running', compressesLog: false }]);
  expect(await another.stop('old', { stopSignal: '', graceMs: 10_000 }, forever)).toMatchObject({ code: 0 });
  await another.remove('old');
  expect(existsSync(folderOf('old'))).toBe(false);
  another.close();
});

it('answers an old agent in its own words', async () => {
  const { id } = await world.runtime.create(world.request(['sleep']), forever);
  const [container] = await world.runtime.list(forever);
  if (container === undefined) return expect.fail(id);
  const who = [native().bootId(), String(container.pid), String(container.startTime)];
  expect(oldAgent(container, 'hello').slice(0, 6)).toEqual(['ok', '3', ...who, 'created']);
  expect(oldAgent(container, 'start')).toEqual(['ok']);
  expect(oldAgent(container, 'hello').slice(5, 6)).toEqual(['running']);
  expect(oldAgent(container, 'start').slice(0, 2)).toEqual(['error', String(constants.errno.EALREADY)]);
  expect(oldAgent(container, 'dance').slice(0, 2)).toEqual(['error', String(constants.errno.ENOSYS)]);
  await world.said(container, 'ready');
  expect(oldAgent(container, `signal ${SIGTERM}`)).toEqual(['ok']);
  expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 0 });
});

it('runs nothing again that an old agent has taken over: it would not know', async () => {
  const agent = world.newRuntime();
  const { id } = await agent.create({ ...world.request(['sleep']), restart: RESTART }, forever);
  const container = await agent.start(id, forever);
  await world.said(container, 'ready');
  agent.close();
  expect(oldAgent(container, 'hello')[0]).toBe('ok');
  native().signal(container.pid, container.startTime, SIGTERM);
  await until(() => !existsSync(join(folderOf(id), 'control')), 'the shim has ended');
  expect(JSON.parse(readFileSync(join(folderOf(id), 'exit.json'), 'utf8'))).toMatchObject({ code: 0 });
});

it('leaves an end to an agent of version 2 that attends: it would not say that it takes it', async () => {
  const agent = world.newRuntime();
  const { id } = await agent.create({ ...world.request(['sleep']), restart: RESTART }, forever);
  const container = await agent.start(id, forever);
  await world.said(container, 'ready');
  const old = spawn(builtFile('version1'), ['attend', folderOf(id)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [answer] = await once(old.stdout, 'data');
  expect(String(answer)).toMatch(/^ok\n/);
  agent.close();
  native().signal(container.pid, container.startTime, SIGTERM);
  await until(() => !existsSync(join(folderOf(id), 'control')), 'the shim has ended');
  expect(JSON.parse(readFileSync(join(folderOf(id), 'exit.json'), 'utf8'))).toMatchObject({ code: 0 });
  old.stdin.end();
  expect(await once(old, 'exit')).toEqual([0, null]);
});

it('does not notice that the file of its shim is replaced or gone', async () => {
  const shimPath = join(world.folder, 'covey-shim');
  copyFileSync(builtFile('covey-shim'), shimPath);
  const runtime = world.newRuntime({ shimPath });
  const { id } = await runtime.create(world.request(['sleep']), forever);
  const container = await runtime.start(id, forever);
  await world.said(container, 'ready');
  writeFileSync(`${shimPath}.new`, 'the next version');
  renameSync(`${shimPath}.new`, shimPath);
  const exec = { args: ['/bin/init', 'exit', '4'], env: [], timeoutMs: 5_000, outputMaxBytes: 100 };
  expect((await runtime.exec(id, exec, forever)).exitCode).toBe(4);
  expect(await runtime.stop(id, { stopSignal: '', graceMs: 10_000 }, forever)).toMatchObject({ code: 0 });
  runtime.close();
});
