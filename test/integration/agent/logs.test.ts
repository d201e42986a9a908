/** The agent reads and compresses logs while shims go on writing them. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { compressAside } from '../../../agent/logs/compressor.ts';
import { lastLines, readLog } from '../../../agent/logs/reader.ts';
import type { LogEntry } from '../../../agent/runtime/log-line.ts';
import type { Container } from '../../../agent/runtime/runtime.ts';
import { systemClock } from '../../../common/clock.ts';
import { forever, logPathsOf, NativeWorld } from '../../support/native-world.ts';

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

const wanted = (options: Readonly<Record<string, string>>) => ({ template: { log: { driver: 'local', options } } });
const numbersOf = (entries: readonly LogEntry[]) =>
  entries.map((entry) => Number(String(Buffer.from(entry.text)).split(' ', 1)[0]));
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const namesOf = (container: Container) =>
  readdirSync(join(container.logPath, '..')).filter((each) => /^log/.test(each));

async function read(path: string, isGrowing = () => false): Promise<readonly LogEntry[]> {
  const all: LogEntry[] = [];
  const question = { path, tail: -1, since: 0, isGrowing, clock: systemClock };
  for await (const entries of readLog(question, forever)) all.push(...entries);
  return all;
}

it('reads a log whose files were compressed, from its beginning and from its end', async () => {
  const { container } = await world.ran(['lines', '5000', '100'], wanted({ 'max-size': '64k', 'max-file': '50' }));
  await compressAside(container.logPath, forever);
  expect(logPathsOf(container)).toEqual([container.logPath]);
  const packed = namesOf(container).filter((name) => name.endsWith('.gz'));
  expect(packed.length).toBeGreaterThan(5);
  expect(gunzipSync(readFileSync(join(container.logPath, '..', packed[0] ?? ''))).length).toBeLessThanOrEqual(65_536);
  expect(numbersOf(await read(container.logPath))).toEqual(upTo(5_000));
  expect(numbersOf(await lastLines(container.logPath, 2_000, forever))).toEqual(upTo(5_000).slice(-2_000));
});

it('follows a log that rotates and is compressed under its hands: each line once', async () => {
  const container = await world.started(['paced', '4000', '4000'], wanted({ 'max-size': '16k', 'max-file': '100' }));
  let isOver = false;
  const end = world.runtime.wait(container.id, forever).then(() => {
    isOver = true;
  });
  const compressing = (async () => {
    while (!isOver) await compressAside(container.logPath, forever);
  })();
  expect(numbersOf(await read(container.logPath, () => !isOver))).toEqual(upTo(4_000));
  await Promise.all([end, compressing]);
});

it('leaves no compressed file behind that the shim has dropped', async () => {
  const container = await world.started(['lines', '300000', '100'], wanted({ 'max-size': '64k', 'max-file': '3' }));
  let isOver = false;
  const end = world.runtime.wait(container.id, forever).then(() => {
    isOver = true;
  });
  while (!isOver) await compressAside(container.logPath, forever);
  await end;
  await compressAside(container.logPath, forever);
  const names = namesOf(container);
  expect(names).toHaveLength(3);
  expect(names.filter((name) => /^log\.\d{8}\.gz$/.test(name))).toHaveLength(2);
});

it('finishes what a crash of the agent has left half done', async () => {
  const { container } = await world.ran(['lines', '2000', '100'], wanted({ 'max-size': '64k', 'max-file': '50' }));
  const [first = '', second = ''] = logPathsOf(container);
  // Died before the rename; died between the rename and the removal of the plain file.
  writeFileSync(`${first}.gz.new`, 'torn');
  writeFileSync(`${second}.gz`, gzipSync(readFileSync(second)));
  expect(numbersOf(await read(container.logPath))).toEqual(upTo(2_000));
  await compressAside(container.logPath, forever);
  expect(existsSync(`${first}.gz.new`)).toBe(false);
  expect(existsSync(second)).toBe(false);
  expect(numbersOf(await read(container.logPath))).toEqual(upTo(2_000));
});

it('reads the files of an older shim, which it renamed at each rotation', async () => {
  const { container } = await world.ran(['exit', '0']);
  const line = (number: number) => `2026-01-01T00:00:0${number}.000000000Z stdout F ${number}\n`;
  writeFileSync(container.logPath, line(3));
  writeFileSync(`${container.logPath}.1`, line(2));
  writeFileSync(`${container.logPath}.2`, line(1));
  expect(numbersOf(await read(container.logPath))).toEqual([1, 2, 3]);
  await compressAside(container.logPath, forever);
  expect(namesOf(container).sort()).toEqual(['log', 'log.1', 'log.2']);
});
