import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { instantOf, logFilesOf, parseLogLine } from '../../../agent/runtime/log-line.ts';
import { forever, NativeWorld, outputOf } from '../../support/native-world.ts';

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld({ logMaxBytes: 1 << 20 });
});
afterAll(() => world.destroy());

it('keeps every line once and in order over rotations at full speed', async () => {
  const count = 30_000;
  const { container, output } = await world.ran(['lines', String(count), '80']);
  const numbers = output
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split(' ', 1)[0]));
  expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i));
  const files = logFilesOf(container.logPath, 5);
  expect(statSync(files[3] ?? '').size).toBeLessThanOrEqual(1 << 20);
});

it('forgets the oldest files and nothing between', async () => {
  const { container, output } = await world.ran(['lines', '100000', '80']);
  const numbers = output
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split(' ', 1)[0]));
  expect(numbers.at(-1)).toBe(99_999);
  expect(numbers.every((number, i) => i === 0 || number === (numbers[i - 1] ?? 0) + 1)).toBe(true);
  for (const path of logFilesOf(container.logPath, 5)) expect(statSync(path).size).toBeLessThanOrEqual(1 << 20);
});

it('tells stdout from stderr and dates each line', async () => {
  const before = Date.now();
  const { container } = await world.ran(['both', '100']);
  const lines = readFileSync(container.logPath, 'utf8').trimEnd().split('\n').map(parseLogLine);
  expect(lines).toHaveLength(100);
  for (const line of lines) {
    expect(line?.stream).toBe(Number(line?.text) % 2 === 0 ? 'stdout' : 'stderr');
    expect(instantOf(line ?? expect.fail())).toBeGreaterThanOrEqual(before - 1);
  }
});

it('cuts a very long line into marked pieces that join again', async () => {
  const { container, output } = await world.ran(['lines', '1', '50000']);
  const lines = readFileSync(container.logPath, 'utf8').trimEnd().split('\n').map(parseLogLine);
  expect(lines.map((line) => line?.partial)).toEqual([true, true, true, false]);
  expect(output).toBe(`0 ${'x'.repeat(50_000)}\n`);
});

it('keeps a last line that has no newline', async () => {
  expect((await world.ran(['text', 'no end'])).output).toBe('no end\n');
});

it('writes a line while the container goes on running', async () => {
  const container = await world.started(['sleep']);
  await world.said(container, 'ready');
  expect(outputOf(container)).toBe('ready\n');
  await world.runtime.stop(container.id, { stopSignal: '', graceMs: 5_000 }, forever);
});
