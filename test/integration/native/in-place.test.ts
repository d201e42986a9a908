/** What a shim does when its container ends while no agent is there. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Container, CreateRequest, RestartInPlace } from '../../../agent/runtime/runtime.ts';
import { native } from '../../../native/index.ts';
import { forever, NativeWorld, outputOf, until } from '../../support/native-world.ts';
import { IN_USER_NAMESPACE, OciWorld } from '../../support/oci-world.ts';
import { isHearing } from '../../support/threads.ts';

const { SIGCONT, SIGSTOP, SIGTERM } = constants.signals;
const AGENT = fileURLToPath(new URL('../../support/survivor-agent.ts', import.meta.url));
const AT_ONCE: RestartInPlace = { condition: 'any', delayMs: 0, maxAttempts: 0, windowMs: 0, used: 0, holdMs: 0 };

let world: NativeWorld;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(() => world.destroy());

const fileOf = (container: Container, name: string) => join(world.folder, 'state', container.id, name);
const terminate = (container: Container) => native().signal(container.pid, container.startTime, SIGTERM);

interface State {
  readonly run: number;
  readonly shimPid: number;
  readonly shimStartTime: number;
}
const stateOf = (container: Container) => JSON.parse(readFileSync(fileOf(container, 'state.json'), 'utf8')) as State;
const runOf = (container: Container) => stateOf(container).run;

/** Its shim has gone: nothing follows. */
function hasEnded(container: Container): boolean {
  const { shimPid, shimStartTime } = stateOf(container);
  return !native().processAlive(shimPid, shimStartTime);
}

/** A container whose agent has gone. */
async function left(args: readonly string[], restart: Partial<RestartInPlace> = {}): Promise<Container> {
  const agent = world.newRuntime();
  const { id } = await agent.create({ ...world.request(args), restart: { ...AT_ONCE, ...restart } }, forever);
  const container = await agent.start(id, forever);
  await world.said(container, args[0] === 'after' ? 'begun' : 'ready');
  agent.close();
  return container;
}

/** An agent of another process. */
function anAgent(asked: readonly CreateRequest[]): ChildProcessByStdio<Writable, Readable, null> {
  const requests = join(world.folder, 'requests.json');
  writeFileSync(requests, JSON.stringify(asked));
  const args = ['--import', 'tsx', AGENT, join(world.folder, 'state'), world.cgroupParent, requests];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
}

async function found(): Promise<Container> {
  const [container] = await world.runtime.list(forever);
  return container ?? expect.fail('no container');
}

it('runs a container again in its own place: network, writable layer, cgroup and log are the same', async () => {
  const first = await left(['sleep']);
  const network = readlinkSync(first.netnsPath);
  writeFileSync(fileOf(first, 'upper/mark'), 'of the first run');
  terminate(first);
  await until(() => runOf(first) === 2, 'it runs again');
  const second = await found();
  expect(second).toMatchObject({
    state: 'running',
    run: 2,
    pastRuns: [{ number: 1, exit: { code: 0, signal: null } }],
  });
  expect(second.runStartedAt).toBeGreaterThanOrEqual(second.pastRuns[0]?.exit.finishedAt ?? Number.POSITIVE_INFINITY);
  expect(second.pid).not.toBe(first.pid);
  expect(readlinkSync(second.netnsPath)).toBe(network);
  const read = { args: ['/bin/init', 'read', '/mark'], env: [], timeoutMs: 5_000, outputMaxBytes: 100 };
  expect((await world.runtime.exec(second.id, read, forever)).output).toBe('of the first run');
  await until(() => outputOf(second) === 'ready\nready\n', 'both runs are in the log');
  expect((await world.runtime.stats(second.id)).pids.count).toBe(1);
  expect(await world.runtime.stop(second.id, { stopSignal: '', graceMs: 10_000 }, forever)).toMatchObject({ code: 0 });
});

it('is not kept from it by an agent that died before it was heard', async () => {
  const container = await left(['after', '50', '5'], { delayMs: 4_000 });
  await until(() => existsSync(fileOf(container, 'exit.json')), 'the shim waits');
  const { shimPid, shimStartTime } = stateOf(container);
  native().signal(shimPid, shimStartTime, SIGSTOP);
  const agent = anAgent([]);
  await until(() => isHearing(agent.pid), 'the agent has asked and waits for the answer');
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  native().signal(shimPid, shimStartTime, SIGCONT);
  await until(() => runOf(container) === 2, 'it runs again');
});

it('is run again although an agent attended: one that never took its end was as good as dead', async () => {
  const container = await left(['sleep']);
  const agent = anAgent([{ ...world.request(['sleep']), id: container.id }]);
  const [found] = await once(createInterface(agent.stdout), 'line');
  expect(JSON.parse(found)).toMatchObject({ kind: 'found', containers: [{ id: container.id, state: 'running' }] });
  // It holds what it held, and hears nothing: as when it is dead, but a child of it has yet to begin its own program.
  agent.kill('SIGSTOP');
  terminate(container);
  await until(() => existsSync(fileOf(container, 'exit.json')), 'the end is on the disk');
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  await until(() => runOf(container) === 2, 'it runs again');
});

it('leaves the exit to the agent that is there', async () => {
  const container = await world.runtime.create({ ...world.request(['after', '50', '3']), restart: AT_ONCE }, forever);
  await world.runtime.start(container.id, forever);
  expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 3 });
  expect(await found()).toMatchObject({ state: 'exited', run: 1, pastRuns: [] });
});

it('leaves the exit to an agent that has come back', async () => {
  const first = await left(['sleep']);
  await found();
  terminate(first);
  expect(await world.runtime.wait(first.id, forever)).toMatchObject({ code: 0 });
  expect(await found()).toMatchObject({ state: 'exited', run: 1 });
});

it('gives up after the attempts of the policy, and every exit is told', async () => {
  const container = await left(['after', '50', '7'], { maxAttempts: 4, used: 1 });
  await until(() => hasEnded(container), 'it is given up');
  const last = await found();
  expect(last).toMatchObject({ state: 'exited', run: 4, exit: { code: 7 } });
  expect(last.pastRuns.map(({ number, exit }) => [number, exit.code])).toEqual([
    [1, 7],
    [2, 7],
    [3, 7],
  ]);
  const times = [...last.pastRuns.map(({ exit }) => exit), last.exit ?? expect.fail()];
  for (const [i, exit] of times.entries()) expect(exit.startedAt).toBeGreaterThanOrEqual(times[i - 1]?.finishedAt ?? 0);
});

it('runs a container again for a failure only, when the policy says so', async () => {
  const well = await left(['after', '50', '0'], { condition: 'on-failure' });
  await until(() => hasEnded(well), 'it is over');
  expect(runOf(well)).toBe(1);
});

it('holds back for as long as a manager may still act', async () => {
  const container = await left(['after', '50', '5'], { holdMs: 3_600_000 });
  await until(() => existsSync(fileOf(container, 'exit.json')), 'the exit is recorded');
  expect(hasEnded(container)).toBe(false);
  // The agent comes while the shim waits: then it is the agent's, at once.
  await until(() => runOf(container) === 1, 'nothing was run');
  await world.runtime.list(forever);
  expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 5 });
  expect(await found()).toMatchObject({ state: 'exited', run: 1, exit: { code: 5 } });
});

it('does not run again what was being stopped when the agent died', async () => {
  const agent = world.newRuntime();
  const { id } = await agent.create({ ...world.request(['sleep']), restart: AT_ONCE }, forever);
  const container = await agent.start(id, forever);
  await world.said(container, 'ready');
  void agent.stop(id, { stopSignal: '', graceMs: 60_000 }, forever);
  agent.close();
  await until(() => hasEnded(container), 'it has ended');
  expect(await found()).toMatchObject({ state: 'exited', run: 1, exit: { code: 0 } });
});

it('removes a container that was run again like any other', async () => {
  const container = await left(['sleep']);
  terminate(container);
  await until(() => runOf(container) === 2, 'it runs again');
  const again = await found();
  await world.runtime.remove(again.id);
  expect(native().processAlive(again.pid, again.startTime)).toBe(false);
  expect(existsSync(fileOf(container, ''))).toBe(false);
});

it.each([
  ['auto', {}],
  ['mount', {}],
  ['auto', IN_USER_NAMESPACE],
  ['mount', IN_USER_NAMESPACE],
] as const)('runs again with layers mounted by %s, in the user namespace it had (%#)', async (overlayMode, linux) => {
  const oci = new OciWorld();
  try {
    const first = await oci.created(['sleep'], { linux, options: { overlayMode, restart: AT_ONCE } });
    (await native().containerStart(first.stateDir)).release();
    await oci.said(first, 'ready');
    const { pid, startTime } = first.identity;
    const spaces = (of: number) => ['user', 'net'].map((kind) => readlinkSync(`/proc/${of}/ns/${kind}`));
    const before = spaces(pid);
    native().signal(pid, startTime, SIGTERM);
    await until(() => outputOf(first) === 'ready\nready\n', 'it runs again');
    const again = await native().containerIdentify(first.stateDir);
    expect(again).toMatchObject({ run: 2, life: 'running' });
    expect(spaces(again?.pid ?? 0)).toEqual(before);
  } finally {
    await oci.destroy();
  }
});
