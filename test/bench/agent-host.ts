// A host without a manager, in a network namespace of its own: runtime, network and folders as the agent has them. Started
// by agent.ts, which it sends one message: what it measured.
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostnameFile, hostsFile, resolvConf } from '../../agent/network/names-files.ts';
import { NativeNetwork } from '../../agent/network/native-network.ts';
import { LINK_PREFIX } from '../../agent/network/owned.ts';
import { NativeRuntime } from '../../agent/runtime/native-runtime.ts';
import type { Container, CreateRequest } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../common/clock.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { type Addon, builtFile, native } from '../../native/index.ts';
import { exactCpuSecondsOf, pssKib } from './processes.ts';

export interface HostMeasures {
  readonly alone: readonly number[];
  /** Of each of those, what the core's own calls did not take. */
  readonly added: readonly number[];
  readonly together: readonly number[];
  readonly list: readonly number[];
  readonly idlePercent: readonly number[];
  readonly pss: readonly number[];
  readonly removed: readonly number[];
  readonly many: { readonly startSeconds: number; readonly mibEach: number; readonly removeSeconds: number };
  readonly faults: readonly string[];
}

const forever = new AbortController().signal;
const [, , folder = '', cgroupParent = '', address = '', countText = '', manyText = ''] = process.argv;
const AT_ONCE = 8;
const BLOCKS = 5;
const LISTS = 20;
const IDLE_WINDOWS = 3;
const IDLE_MS = 5_000;
/** So long after a burst V8 still gives memory back. */
const TIDYING_MS = 25_000;
const LOOK_MS = 5;
const GONE_WITHIN_MS = 60_000;
const stateDir = join(folder, 'containers');
const layer = join(folder, 'layer');
const faults: string[] = [];
/** In the core's own calls, so far. */
let coreMs = 0;
const runtime = new NativeRuntime({ stateDir, cgroupParent, clock: systemClock, addon: timed(native()) });
const network = new NativeNetwork(native(), folder);

function timed(addon: Addon): Addon {
  const measured = async <T>(call: () => Promise<T>): Promise<T> => {
    const from = performance.now();
    try {
      return await call();
    } finally {
      coreMs += performance.now() - from;
    }
  };
  return {
    ...addon,
    containerCreate: (...args) => measured(() => addon.containerCreate(...args)),
    containerStart: (...args) => measured(() => addon.containerStart(...args)),
  };
}

function requestOf(number: number): CreateRequest {
  return {
    id: taskIdOf(number),
    image: { layers: [layer], entrypoint: ['/bin/init'], cmd: [], env: [], workdir: '', user: '', stopSignal: '' },
    template: {
      image: 'bench',
      args: ['sleep'],
      env: [],
      labels: {},
      readOnly: false,
      stopGraceMs: 0,
      health: { kind: 'none' },
      startTimeoutMs: 0,
      drainMs: 0,
    },
    limits: { nanoCpus: 0, memoryBytes: 64 << 20, pids: 100 },
    hostname: 'bench',
    files: [
      { target: '/etc/hosts', content: hostsFile('bench', addressOf(number)) },
      { target: '/etc/hostname', content: hostnameFile('bench') },
      { target: '/etc/resolv.conf', content: resolvConf('nameserver 192.0.2.1\n', '') },
    ],
    labels: { 'covey.task': taskIdOf(number) },
  };
}

/** 25 characters, as the scheduler's; like those they differ from the first ones on, of which the link is named. */
function taskIdOf(number: number): TaskId {
  return `t${String(number).padStart(5, '0')}`.padEnd(25, '0') as TaskId;
}

function addressOf(number: number): string {
  return `10.88.${8 + Math.floor(number / 250)}.${2 + (number % 250)}`;
}

/** What the agent does for a task whose image is there, until its command runs. */
async function start(number: number): Promise<Container> {
  const taskId = taskIdOf(number);
  const created = await runtime.create(requestOf(number), forever);
  await network.attach({ taskId, address: addressOf(number), hostPorts: [] }, created.pid);
  return await runtime.start(created.id, forever);
}

async function atOnce(numbers: readonly number[], width: number, work: (number: number) => Promise<unknown>) {
  const left = [...numbers];
  const worker = async (): Promise<void> => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) await work(number);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

async function remove(number: number): Promise<void> {
  await runtime.remove(taskIdOf(number));
  await network.detach(taskIdOf(number));
}

async function links(): Promise<number> {
  return (await native().links()).filter(({ name }) => name.startsWith(LINK_PREFIX)).length;
}

/** Links, cgroups and folders: what is left of containers. */
async function left(): Promise<number> {
  return (await links()) + (await native().cgroupList(cgroupParent)).length + readdirSync(stateDir).length;
}

/** Removes all, by force, and waits until the kernel has let go of every link. Seconds. */
async function removeAll(numbers: readonly number[]): Promise<number> {
  const from = performance.now();
  await atOnce(numbers, numbers.length, remove);
  while ((await left()) > 0) {
    if (performance.now() - from > GONE_WITHIN_MS) {
      faults.push(`${await left()} links, cgroups and folders are left after removal`);
      break;
    }
    await systemClock.sleep(LOOK_MS, forever);
  }
  return (performance.now() - from) / 1_000;
}

const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i);

function availableMib(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]) / 1024;
}

async function checkRunning(count: number): Promise<void> {
  const running = (await runtime.list(forever)).filter(({ state }) => state === 'running').length;
  if (running !== count) faults.push(`${running} of ${count} containers run`);
  const linked = await links();
  if (linked !== count) faults.push(`${linked} of ${count} containers have a link`);
}

async function alone(count: number): Promise<Pick<HostMeasures, 'alone' | 'added'>> {
  const ms: number[] = [];
  const added: number[] = [];
  for (const number of range(0, count)) {
    const [from, coreBefore] = [performance.now(), coreMs];
    await start(number);
    const tookMs = performance.now() - from;
    ms.push(tookMs);
    added.push(tookMs - (coreMs - coreBefore));
  }
  return { alone: ms, added };
}

async function lists(): Promise<readonly number[]> {
  const ms: number[] = [];
  for (let round = 0; round < LISTS; round += 1) {
    const from = performance.now();
    await runtime.list(forever);
    ms.push(performance.now() - from);
  }
  return ms;
}

/** This process and all shims, in percent of a core; what it costs to look is not in it. */
async function idle(shims: readonly number[]): Promise<readonly number[]> {
  const percents: number[] = [];
  const ofShims = (): number => shims.reduce((sum, pid) => sum + exactCpuSecondsOf(pid), 0);
  await systemClock.sleep(TIDYING_MS, forever);
  for (let window = 0; window < IDLE_WINDOWS; window += 1) {
    const shimsBefore = ofShims();
    const [from, before] = [performance.now(), exactCpuSecondsOf(process.pid)];
    await systemClock.sleep(IDLE_MS, forever);
    const own = exactCpuSecondsOf(process.pid) - before;
    const seconds = (performance.now() - from) / 1_000;
    percents.push(((own + ofShims() - shimsBefore) / seconds) * 100);
  }
  return percents;
}

function shimsOf(count: number): readonly number[] {
  return range(0, count).map((number) => {
    const state = JSON.parse(readFileSync(join(stateDir, taskIdOf(number), 'state.json'), 'utf8')) as {
      shimPid: number;
    };
    return state.shimPid;
  });
}

async function together(count: number): Promise<readonly number[]> {
  const rates: number[] = [];
  const size = Math.ceil(count / BLOCKS);
  for (let first = 0; first < count; first += size) {
    const numbers = range(first, Math.min(size, count - first));
    const from = performance.now();
    await atOnce(numbers, AT_ONCE, start);
    rates.push((numbers.length * 1_000) / (performance.now() - from));
  }
  return rates;
}

async function many(count: number): Promise<HostMeasures['many']> {
  const before = availableMib();
  const from = performance.now();
  await atOnce(range(0, count), AT_ONCE, start);
  const startSeconds = (performance.now() - from) / 1_000;
  await checkRunning(count);
  const mibEach = (before - availableMib()) / count;
  return { startSeconds, mibEach, removeSeconds: await removeAll(range(0, count)) };
}

async function measure(count: number): Promise<HostMeasures> {
  mkdirSync(join(layer, 'bin'), { recursive: true });
  cpSync(builtFile('test-init'), join(layer, 'bin', 'init'));
  await runtime.list(forever);
  await network.start({
    host: { address, pool: '10.88.0.0/16', block: '10.88.8.0/21' },
    peers: [],
    ports: [],
    attached: [],
  });
  const one = await alone(count);
  await checkRunning(count);
  const shims = shimsOf(count);
  const list = await lists();
  const idlePercent = await idle(shims);
  const pss = shims.map((pid) => pssKib(pid) ?? Number.NaN);
  const removed = [await removeAll(range(0, count))];
  const rates = await together(count);
  await checkRunning(count);
  removed.push(await removeAll(range(0, count)));
  return { ...one, together: rates, list, idlePercent, pss, removed, many: await many(Number(manyText)), faults };
}

try {
  const measures = await measure(Number(countText));
  process.send?.(measures);
} finally {
  for (const { id } of await runtime.list(forever)) await runtime.remove(id);
  await network.stop();
  runtime.close();
  await native().cgroupRemove(cgroupParent);
}
process.disconnect?.();
