/** The log when there is too much of it, and when the disk takes it late. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { forever, linesOf, logPathsOf, NativeWorld, outputOf, until } from '../../support/native-world.ts';

const { SIGTERM } = constants.signals;
const MIB = 1 << 20;

let world: NativeWorld;
let disk: string;
beforeAll(() => {
  world = new NativeWorld();
  disk = join(world.folder, 'disk');
  mkdirSync(disk);
  execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', join(world.folder, 'disk.img'), '64m'], { stdio: 'pipe' });
  execFileSync('mount', ['-o', 'loop', join(world.folder, 'disk.img'), disk]);
});
afterEach(() => thaw());
afterAll(async () => {
  thaw();
  execFileSync('umount', [disk]);
  rmSync(join(world.folder, 'disk.img'));
  await world.destroy();
});

let isFrozen = false;
function freeze(): void {
  execFileSync('fsfreeze', ['--freeze', disk]);
  isFrozen = true;
}
function thaw(): void {
  if (isFrozen) execFileSync('fsfreeze', ['--unfreeze', disk]);
  isFrozen = false;
}

/** 0 for a process that has just ended. */
function memoryKib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
}

it('survives a gigabyte of output: the disk stays bounded, the shim small and its ear open', async () => {
  const log = { driver: 'local', options: { 'max-size': '2m', 'max-file': '3', compress: 'false' } };
  const container = await world.started(['lines', '131072', '8192'], { template: { log } });
  const folder = join(world.folder, 'state', container.id);
  let answers = 0;
  let memory = 0;
  for (let isOver = false; !isOver; ) {
    const identity = await native().containerIdentify(folder);
    isOver = identity?.life !== 'running';
    if (identity === null || isOver) break;
    answers += 1;
    memory = Math.max(memory, memoryKib(identity.shimPid));
  }
  expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 0 });
  expect(answers).toBeGreaterThan(10);
  expect(memory).toBeLessThan(1_024);
  const paths = logPathsOf(container);
  expect(paths).toHaveLength(3);
  for (const path of paths) expect(statSync(path).size).toBeLessThanOrEqual(2 * MIB);
  expect(outputOf(container)).toMatch(/\n131071 x+\n$/);
});

it('gives its memory back once the container is quiet', async () => {
  const container = await world.started(['later', '20000', '1000']);
  const identity = await native().containerIdentify(join(world.folder, 'state', container.id));
  await world.said(container, 'ready');
  const rollup = () => readFileSync(`/proc/${identity?.shimPid}/smaps_rollup`, 'utf8');
  const own = () => Number(/^Pss_Anon:\s+(\d+)/m.exec(rollup())?.[1]);
  await until(() => own() <= 64, 'the shim keeps at most 64 KiB of its own beside its program');
  await world.runtime.remove(container.id);
});

/** A container on the frozen disk that has been told to write a megabyte. */
async function writesInto(options: Readonly<Record<string, string>>) {
  const runtime = world.newRuntime({ stateDir: join(disk, 'state') });
  const request = world.request(['later', '10000', '100'], { template: { log: { driver: 'local', options } } });
  const { id } = await runtime.create(request, forever);
  const container = await runtime.start(id, forever);
  await world.said(container, 'ready');
  freeze();
  await runtime.kill(id, SIGTERM);
  const isAlive = () => native().processAlive(container.pid, container.startTime);
  return { runtime, container, isAlive };
}

it('makes the container wait while the disk hangs, and loses no line', async () => {
  const { runtime, container, isAlive } = await writesInto({});
  // It has written what a pipe holds, and stands at the next write.
  const stack = () => readFileSync(`/proc/${container.pid}/wchan`, 'utf8');
  await until(() => stack().includes('pipe_write'), 'the container waits for its log');
  expect(isAlive()).toBe(true);
  thaw();
  expect(await runtime.wait(container.id, forever)).toMatchObject({ code: 0 });
  expect(linesOf(container)).toHaveLength(10_001);
  await runtime.remove(container.id);
  runtime.close();
});

it('lets the container go on while the disk hangs when its mode is non-blocking, and says what was lost', async () => {
  const { runtime, container, isAlive } = await writesInto({ mode: 'non-blocking', 'max-buffer-size': '128k' });
  await until(() => !isAlive(), 'the container has ended although the disk hangs');
  thaw();
  expect(await runtime.wait(container.id, forever)).toMatchObject({ code: 0 });
  const texts = linesOf(container).map((line) => String(Buffer.from(line.text)));
  const lost = texts.flatMap(
    (text) => /^covey: (\d+) lines were lost: the log's buffer was full$/.exec(text)?.[1] ?? [],
  );
  const kept = texts.filter((text) => /^\d+ x+$/.test(text));
  expect(lost.length).toBeGreaterThan(0);
  expect(kept.length).toBeGreaterThan(500);
  expect(kept.length + lost.reduce((sum, count) => sum + Number(count), 0)).toBe(10_000);
  await runtime.remove(container.id);
  runtime.close();
});

it('loses nothing without blocking while the disk keeps up', async () => {
  const options = { mode: 'non-blocking', 'max-buffer-size': '4m', 'max-size': '100m' };
  const log = { driver: 'json-file', options };
  const { output } = await world.ran(['paced', '5000', '10000'], { template: { log } });
  expect(output.trimEnd().split('\n')).toHaveLength(5_000);
});
