import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { builtFile, native } from '../../../native/index.ts';
import { forever, NativeWorld, outputOf, until } from '../../support/native-world.ts';

const { SIGKILL, SIGTERM } = constants.signals;
const STARTER = fileURLToPath(new URL('../../support/native-starter.ts', import.meta.url));

let world: NativeWorld;
let starter: ChildProcess | undefined;
beforeEach(() => {
  world = new NativeWorld();
});
afterEach(async () => {
  starter?.kill('SIGKILL');
  starter = undefined;
  await world.destroy();
});

/** A container started by another process, which is then killed without a word. */
async function orphan(...args: readonly string[]): Promise<Container> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', STARTER, join(world.folder, 'state'), world.cgroupParent, world.layer, ...args],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  starter = child;
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  await until(() => text.includes('\n') || child.exitCode !== null, 'the starter has started its container');
  child.kill('SIGKILL');
  await once(child, 'exit');
  return JSON.parse(text) as Container;
}

function shimsAlive(): number {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && isShimHere(pid)).length;
}

/** A shim whose container's cgroup is this test's. */
function isShimHere(pid: string): boolean {
  try {
    if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('covey-shim\0')) return false;
    const links = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    return links.some((link) => link.startsWith(world.folder));
  } catch {
    return false;
  }
}

it('keeps a container running through the death of the process that started it, with its pid, log and exit code', async () => {
  const before = await orphan('paced', '400', '200');
  const [found] = await world.runtime.list(forever);
  expect(found).toMatchObject({ id: 'kept', state: 'running', pid: before.pid, startTime: before.startTime });
  expect(found?.labels).toEqual({ 'covey.task': 'kept' });
  expect(await world.runtime.wait('kept', forever)).toMatchObject({ code: 0, signal: null });
  const numbers = outputOf(before).trimEnd().split('\n').map(Number);
  expect(numbers).toEqual(Array.from({ length: 400 }, (_, i) => i));
});

it('tells the exit code of a container that ended while nobody was there', async () => {
  const before = await orphan('sleep');
  // Before its handler stands, the first process of a pid namespace ignores the signal.
  await world.said(before, 'ready');
  native().signal(before.pid, before.startTime, SIGTERM);
  await until(() => existsSync(join(world.folder, 'state', 'kept', 'exit.json')), 'the exit is recorded');
  await until(() => shimsAlive() === 0, 'its shim is gone');
  expect(await world.runtime.list(forever)).toMatchObject([{ id: 'kept', state: 'exited', exit: { code: 0 } }]);
});

it('can start, command and stop a container it has found', async () => {
  await orphan('sleep');
  await world.runtime.list(forever);
  const request = { args: ['/bin/init', 'exit', '4'], env: [], timeoutMs: 5_000, outputMaxBytes: 100 };
  expect((await world.runtime.exec('kept', request, forever)).exitCode).toBe(4);
  expect(await world.runtime.stop('kept', { stopSignal: '', graceMs: 10_000 }, forever)).toMatchObject({ code: 0 });
});

it('starts a container that another process had only created', async () => {
  const first = world.newRuntime();
  const { id, pid } = await first.create(world.request(['exit', '6']), forever);
  first.close();
  expect(await world.runtime.list(forever)).toMatchObject([{ id, pid, state: 'created' }]);
  await world.runtime.start(id, forever);
  expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 6 });
});

it('loses no container process when a shim is killed: the container ends with it', async () => {
  const container = await world.started(['sleep']);
  const identity = await native().containerIdentify(join(world.folder, 'state', container.id));
  native().signal(identity?.shimPid ?? 0, identity?.shimStartTime ?? 0, SIGKILL);
  expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: null, signal: null });
  await until(() => !native().processAlive(container.pid, container.startTime), 'its first process is gone');
});

it('takes no thread for a process whose number it has got', () => {
  const thread = Number(readdirSync('/proc/self/task').find((id) => id !== String(process.pid)));
  expect(native().signal(thread, native().startTime(thread) ?? 0, SIGTERM)).toBe(false);
  expect(native().processAlive(thread, 1)).toBe(false);
});

it('takes nobody for a container after a reboot', async () => {
  await orphan('sleep');
  const state = join(world.folder, 'state', 'kept', 'state.json');
  const text = execFileSync('cat', [state], { encoding: 'utf8' });
  writeFileSync(state, text.replace(native().bootId(), '00000000-0000-0000-0000-000000000000'));
  expect(await world.runtime.list(forever)).toMatchObject([{ id: 'kept', state: 'exited', exit: { code: null } }]);
  // Put back so that its shim can be found and ended.
  writeFileSync(state, text);
});

it('sweeps what a crash has left: half-made folders and cgroups without one', async () => {
  mkdirSync(join(world.folder, 'state', 'half', 'upper'), { recursive: true });
  await native().cgroupEnsureParent(`${world.cgroupParent}/stray`);
  expect(await world.runtime.list(forever)).toEqual([]);
  expect(readdirSync(join(world.folder, 'state'))).toEqual([]);
  expect(await native().cgroupList(world.cgroupParent)).toEqual([]);
});

it('sweeps a container whose agent died while it was being made: nothing has run in it', async () => {
  const first = world.newRuntime();
  const { id } = await first.create(world.request(['sleep']), forever);
  first.close();
  const folder = join(world.folder, 'state', id);
  const shim = await native().containerIdentify(folder);
  native().signal(shim?.shimPid ?? 0, shim?.shimStartTime ?? 0, SIGKILL);
  await until(() => shimsAlive() === 0, 'its shim is gone');
  rmSync(join(folder, 'state.json'));
  expect(await world.runtime.list(forever)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
  expect(await native().cgroupList(world.cgroupParent)).toEqual([]);
});

it('leaves no process, cgroup, mount, folder or descriptor behind after 200 containers', async () => {
  await world.ran(['exit', '0']);
  const descriptors = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 50; i += 1) {
    await Promise.all(
      [0, 1, 2, 3].map(async () => {
        const { container } = await world.ran(['exit', '0']);
        await world.runtime.remove(container.id);
      }),
    );
  }
  for (const { id } of await world.runtime.list(forever)) await world.runtime.remove(id);
  expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(descriptors);
  // Other clusters of this machine come and go meanwhile: only what lies in our folder is ours.
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n');
  expect(mounts.filter((line) => line.includes(world.folder))).toEqual([]);
  expect(await native().cgroupList(world.cgroupParent)).toEqual([]);
  expect(readdirSync(join(world.folder, 'state'))).toEqual([]);
  expect(shimsAlive()).toBe(0);
  expect(existsSync(builtFile('covey-shim'))).toBe(true);
});

it('removes a running container with everything it has, and any id twice', async () => {
  const container = await world.started(['fork', '5']);
  await world.said(container, 'alive=5');
  await world.runtime.remove(container.id);
  await world.runtime.remove(container.id);
  expect(native().processAlive(container.pid, container.startTime)).toBe(false);
  expect(readdirSync(join(world.folder, 'state'))).toEqual([]);
});

it('finds and commands a container again whose state directory has a path longer than a socket may have', async () => {
  const stateDir = join(world.folder, 'x'.repeat(60), 'y'.repeat(60), 'state');
  const first = world.newRuntime({ stateDir });
  const { id, pid } = await first.create(world.request(['sleep']), forever);
  first.close();
  const second = world.newRuntime({ stateDir });
  try {
    expect(await second.list(forever)).toMatchObject([{ id, pid, state: 'created' }]);
    await world.said(await second.start(id, forever), 'ready');
    expect(await second.stop(id, { stopSignal: '', graceMs: 10_000 }, forever)).toMatchObject({ code: 0 });
  } finally {
    await second.remove(id);
    second.close();
  }
});
