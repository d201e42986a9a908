/**
 * At every sync point of the shim, its first process and its exec helper: what the agent is told when it dies there or
 * fails there, and that nothing is left. The points are those of the sources; a new one must be tried here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { native } from '../../../native/index.ts';
import { leftovers } from '../../support/native-leftovers.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { testFile } from '../../support/test-file.ts';
import { until } from '../../support/until.ts';

const SHIM = fileURLToPath(new URL('../../../native/shim', import.meta.url));
const SETTLED_MS = 10_000;
/** On every mark ids are unique on the machine, also beside another run of this file. */
const MARK = `fault-${process.pid}-`;
/** The shim's own, before the answer; then a failure is told and all is undone. */
const CREATE = ['plan', 'settings', 'cgroup', 'control', 'spawn', 'ready', 'state'].map((name) => `create.${name}`);
const INIT = ['init.born', 'init.placed'];
const START = ['start.asked', 'start.sent', 'start.heard'];
const EXIT = ['exit.seen', 'exit.reaped', 'exit.drained'];
const EXEC = ['exec.settings', 'exec.joined', 'exec.cloned', 'exec.running', 'exec.ended'];
const OTHERS = ['create.answer', 'init.step', 'init.go', 'exit.recorded', 'exit.told', 'exec.child', 'exec.ready'];

let world: NativeWorld;
let made = 0;
beforeAll(() => {
  world = new NativeWorld({ shimPath: testFile('covey-shim-faults') });
});
afterAll(() => world.destroy());
afterEach(() => nothingIsLeft());

function create(args: readonly string[], fault = ''): Promise<Container> {
  made += 1;
  const env = fault === '' ? [] : [`COVEY_FAULT=${fault}`];
  return world.runtime.create({ ...world.request(args, { template: { env } }), id: `${MARK}${made}` }, forever);
}

async function started(args: readonly string[], fault = ''): Promise<Container> {
  return world.runtime.start((await create(args, fault)).id, forever);
}

async function nothingIsLeft(): Promise<void> {
  for (const { id } of await world.runtime.list(forever)) await world.runtime.remove(id);
  let left: readonly string[] = [];
  const settled = async () => {
    left = await leftovers(world, MARK);
    return left.length === 0;
  };
  await until('nothing is left', SETTLED_MS, settled).catch((cause: unknown) => {
    throw new Error(`left behind:\n${left.join('\n')}`, { cause });
  });
}

/** How many operations the first process takes, each of which is a passing of `init.step`. */
async function stepsOfInit(): Promise<number> {
  for (let step = 1; ; step += 1) {
    const failed = await create(['exit', '0'], `init.step#${step}:errno:5`).then(
      ({ id }) => world.runtime.remove(id).then(() => false),
      () => true,
    );
    if (!failed) return step - 1;
  }
}

it('tries every sync point of the sources', () => {
  const sources = readdirSync(SHIM).map((name) => readFileSync(`${SHIM}/${name}`, 'utf8'));
  const points = sources.flatMap((text) => [...text.matchAll(/fault_at\("([\w.]+)"/g)].map((match) => match[1]));
  expect(points.toSorted()).toEqual([...CREATE, ...INIT, ...START, ...EXIT, ...EXEC, ...OTHERS].toSorted());
});

it('tells the end once it is on the disk, while the shim still takes the mounts down', async () => {
  const { id } = await started(['exit', '3'], 'exit.told:stop');
  expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 3 });
  const state = JSON.parse(readFileSync(join(world.folder, 'state', id, 'state.json'), 'utf8'));
  expect(native().processAlive(state.shimPid, state.shimStartTime)).toBe(true);
});

describe('creating a container', () => {
  it.each(CREATE)('tells that the shim was killed at %s', async (point) => {
    await expect(create(['exit', '0'], `${point}:die`)).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('it was killed by signal 9'),
    });
    // Before the runtime looks through its folder: it has undone everything itself.
    await until('nothing is left', SETTLED_MS, async () => (await leftovers(world, MARK)).length === 0);
  });

  it.each([...CREATE, ...INIT])('tells the step and the cause of a failure at %s', async (point) => {
    await expect(create(['exit', '0'], `${point}:errno:${constants.errno.ENOSPC}`)).rejects.toMatchObject({
      code: 'exhausted',
      message: expect.stringMatching(new RegExp(`container ${MARK}\\d+: .*at a sync point.*${point}`)),
      cause: { code: 'ENOSPC', syscall: 'fault', path: point, step: 'at a sync point' },
    });
    await until('nothing is left', SETTLED_MS, async () => (await leftovers(world, MARK)).length === 0);
  });

  it.each(INIT)('tells that the first process died at %s', async (point) => {
    await expect(create(['exit', '0'], `${point}:die`)).rejects.toMatchObject({
      message: expect.stringContaining('it died before it was ready'),
    });
  });

  it('tells that the first process died at any step of the plan, and leaves nothing', async () => {
    const steps = await stepsOfInit();
    expect(steps).toBeGreaterThan(20);
    for (let step = 1; step <= steps; step += 1) {
      await expect(create(['exit', '0'], `init.step#${step}:die`)).rejects.toMatchObject({
        message: expect.stringContaining('it died before it was ready'),
      });
    }
    await until('nothing is left', SETTLED_MS, async () => (await leftovers(world, MARK)).length === 0);
  });

  it('knows a container as ended whose shim died after its answer', async () => {
    const { id } = await create(['sleep'], 'create.answer:die');
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: null, signal: null });
  });
});

describe('starting a container', () => {
  it.each(START)('tells that the shim died at %s', async (point) => {
    const { id } = await create(['sleep'], `${point}:die`);
    await expect(world.runtime.start(id, forever)).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining(`container ${id}: `),
    });
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: null, signal: null });
  });

  it('tells that the first process failed before exec, and records its end', async () => {
    const { id } = await create(['sleep'], `init.go:errno:${constants.errno.EIO}`);
    await expect(world.runtime.start(id, forever)).rejects.toMatchObject({
      cause: { code: 'EIO', path: 'init.go' },
    });
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 127 });
  });

  it('records the signal of a first process that died before exec', async () => {
    const { id } = await started(['sleep'], 'init.go:die');
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: null, signal: constants.signals.SIGILL });
  });
});

describe('the end of a container', () => {
  it.each(EXIT)('is known without its exit code when the shim died at %s', async (point) => {
    const { id } = await started(['exit', '7'], `${point}:die`);
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: null, signal: null });
  });

  it('keeps its exit code when the shim died after recording it', async () => {
    const { id } = await started(['exit', '7'], 'exit.recorded:die');
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 7, signal: null });
  });
});

describe('a command in a container', () => {
  const run = (id: string, fault: string) =>
    world.runtime.exec(
      id,
      { args: ['/bin/init', 'exit', '3'], env: [`COVEY_FAULT=${fault}`], timeoutMs: 10_000, outputMaxBytes: 4_096 },
      forever,
    );

  it.each(EXEC)('is told as failed when its helper died at %s, and the container goes on', async (point) => {
    const { id } = await started(['sleep']);
    await expect(run(id, `${point}:die`)).rejects.toMatchObject({
      message: expect.stringContaining('it ended without an answer'),
    });
    expect(await run(id, 'none:die')).toMatchObject({ exitCode: 3, timedOut: false });
  });

  it.each(['exec.child', 'exec.ready'])('ends with the signal of the process that died at %s', async (point) => {
    const { id } = await started(['sleep']);
    expect(await run(id, `${point}:die`)).toMatchObject({ exitCode: 128 + constants.signals.SIGKILL });
  });

  it.each(['exec.settings', 'exec.joined', 'exec.child', 'exec.ready'])(
    'tells the cause of a failure at %s',
    async (point) => {
      const { id } = await started(['sleep']);
      await expect(run(id, `${point}:errno:${constants.errno.EMFILE}`)).rejects.toMatchObject({
        code: 'exhausted',
        cause: { code: 'EMFILE', path: point },
      });
    },
  );
});
