/** What shims are copied from: what a copy has of it, and what happens when it or its agent is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { forever, NativeWorld, until } from '../../support/native-world.ts';
import { templatesOf } from '../../support/shim-template.ts';
import { isPolling } from '../../support/threads.ts';

const STARTER = fileURLToPath(new URL('../../support/native-starter.ts', import.meta.url));
/** Of shims that are asked for at once; more than libuv has threads. */
const MANY = 12;

let world: NativeWorld;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(() => world.destroy());

const shimOf = (id: string): number =>
  JSON.parse(readFileSync(join(world.folder, 'state', id, 'state.json'), 'utf8')).shimPid;

function theTemplate(): number {
  const [pid, ...others] = templatesOf(process.pid);
  return pid === undefined || others.length > 0 ? expect.fail(`not one template: ${pid} ${others}`) : pid;
}

it('makes shims that are children of the agent, bear their container’s id and hold nothing of each other', async () => {
  const container = await world.started(['sleep']);
  const shim = shimOf(container.id);
  const stat = readFileSync(`/proc/${shim}/stat`, 'utf8');
  const [, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  expect([parent, group]).toEqual([String(process.pid), String(shim)]);
  expect(readFileSync(`/proc/${shim}/comm`, 'utf8')).toBe('covey-shim\n');
  const command = readFileSync(`/proc/${shim}/cmdline`, 'utf8');
  expect(command.replace(/\0+$/, '')).toBe(`covey-shim\0${container.id}`);
  const asking = readlinkSync(`/proc/${theTemplate()}/fd/3`);
  expect(asking).toMatch(/^socket:/);
  const held = readdirSync(`/proc/${shim}/fd`).map((fd) => readlinkSync(`/proc/${shim}/fd/${fd}`));
  expect(held).not.toContain(asking);
});

it('keeps nothing of what it has handed on', async () => {
  await world.started(['sleep']);
  const before = readdirSync(`/proc/${theTemplate()}/fd`);
  await Promise.all(Array.from({ length: MANY }, () => world.started(['sleep'])));
  expect(readdirSync(`/proc/${theTemplate()}/fd`)).toEqual(before);
});

it('is replaced when it was killed, and its shims live on', async () => {
  const first = await world.started(['sleep']);
  const killed = theTemplate();
  process.kill(killed, 'SIGKILL');
  await until(() => templatesOf(process.pid).length === 0, 'it is gone');
  const second = await world.started(['sleep']);
  expect(theTemplate()).not.toBe(killed);
  for (const container of [first, second]) {
    await world.said(container, 'ready');
    const exit = await world.runtime.stop(container.id, { stopSignal: '', graceMs: 10_000 }, forever);
    expect(exit).toMatchObject({ code: 0 });
  }
});

it('says so when it is killed while a shim is asked for, and nothing is left of it', async () => {
  await world.started(['sleep']);
  const template = theTemplate();
  process.kill(template, 'SIGSTOP');
  const made = world.runtime.create(world.request(['sleep']), forever);
  const outcome = made.then(
    () => 'made',
    (cause: unknown) => String(cause),
  );
  await until(() => isPolling(process.pid), 'it is asked and waited for');
  process.kill(template, 'SIGKILL');
  expect(await outcome).toContain("copying the shim's template");
  expect(readdirSync(join(world.folder, 'state'))).toHaveLength(1);
  await world.started(['sleep']);
});

it('ends with its agent', async () => {
  const args = ['--import', 'tsx', STARTER, join(world.folder, 'state'), world.cgroupParent, world.layer, 'sleep'];
  const agent: ChildProcess = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(createInterface(agent.stdout ?? expect.fail('no stdout')), 'line');
  const [template] = templatesOf(agent.pid ?? 0);
  if (template === undefined) return expect.fail('no template');
  const startTime = native().startTime(template) ?? expect.fail('it has ended');
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  await until(() => !native().processAlive(template, startTime), 'it has ended');
});
