import { statSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { instantOf } from '../../../agent/runtime/log-line.ts';
import type { LogPolicy } from '../../../common/model/log-policy.ts';
import { forever, linesOf, logPathsOf, NativeWorld, outputOf } from '../../support/native-world.ts';

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

const log = (driver: string, options: LogPolicy['options'] = {}) => ({ template: { log: { driver, options } } });
const SMALL = { 'max-size': '1m', compress: 'false' };
const text = (bytes: Uint8Array | undefined) => String(Buffer.from(bytes ?? []));
const numbersIn = (output: string) =>
  output
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split(' ', 1)[0]));

it.each(['local', 'json-file'])(
  'keeps every line once and in order over rotations at full speed (%s)',
  async (driver) => {
    const count = 20_000;
    const { container, output } = await world.ran(['lines', String(count), '80'], log(driver, SMALL));
    expect(numbersIn(output)).toEqual(Array.from({ length: count }, (_, i) => i));
    const sizes = logPathsOf(container).map((path) => statSync(path).size);
    expect(sizes.length).toBeGreaterThan(2);
    for (const size of sizes) expect(size).toBeLessThanOrEqual(1 << 20);
  },
);

it('forgets the oldest files and nothing between', async () => {
  const { container, output } = await world.ran(['lines', '100000', '80'], log('local', { ...SMALL, 'max-file': '3' }));
  const numbers = numbersIn(output);
  expect(numbers.at(-1)).toBe(99_999);
  expect(numbers.every((number, i) => i === 0 || number === (numbers[i - 1] ?? 0) + 1)).toBe(true);
  const paths = logPathsOf(container);
  expect(paths).toHaveLength(3);
  for (const path of paths) expect(statSync(path).size).toBeLessThanOrEqual(1 << 20);
});

it('keeps a single file when told so', async () => {
  const { container } = await world.ran(['lines', '30000', '80'], log('local', { ...SMALL, 'max-file': '1' }));
  expect(logPathsOf(container)).toEqual([container.logPath]);
  expect(numbersIn(outputOf(container)).at(-1)).toBe(29_999);
});

it('tells stdout from stderr and dates each line', async () => {
  const before = Date.now();
  const { container } = await world.ran(['both', '100']);
  const lines = linesOf(container);
  expect(lines).toHaveLength(100);
  for (const line of lines) {
    expect(line.stream).toBe(Number(text(line.text)) % 2 === 0 ? 'stdout' : 'stderr');
    expect(instantOf(line)).toBeGreaterThanOrEqual(before - 1);
  }
});

it.each(['local', 'json-file'])('cuts a very long line into marked pieces that join again (%s)', async (driver) => {
  const { container, output } = await world.ran(['lines', '1', '50000'], log(driver));
  expect(linesOf(container).map((line) => line.partial)).toEqual([true, true, true, false]);
  expect(output).toBe(`0 ${'x'.repeat(50_000)}\n`);
});

it('keeps a last line that has no newline', async () => {
  expect((await world.ran(['text', 'no end'])).output).toBe('no end\n');
  const { container } = await world.ran(['text', 'no end'], log('json-file'));
  expect(linesOf(container).map((line) => text(line.text))).toEqual(['no end']);
});

it('keeps every byte of what is no text with the driver local, and its place with json-file', async () => {
  const bytes = Buffer.from([0x00, 0xff, 0xfe, 0xc3, 0x28, 0x1b, 0x5b, 0x22, 0x5c, 0x0d, 0xe2, 0x82, 0xac]);
  const plain = await world.ran(['bytes', bytes.toString('hex')]);
  expect([...(linesOf(plain.container)[0]?.text ?? [])]).toEqual([...bytes]);
  const json = await world.ran(['bytes', bytes.toString('hex')], log('json-file'));
  expect(text(linesOf(json.container)[0]?.text)).toBe('\0\ufffd\ufffd\ufffd(\u001b["\\\r€');
});

it('tears no character of several bytes when it cuts a line', async () => {
  const { container } = await world.ran(
    ['bytes', Buffer.from(`a${'€'.repeat(6_000)}`).toString('hex')],
    log('json-file'),
  );
  const lines = linesOf(container);
  expect(lines.length).toBeGreaterThan(1);
  expect(lines.map((line) => text(line.text)).join('')).toBe(`a${'€'.repeat(6_000)}`);
});

it('keeps nothing with the driver none, and the container does not notice', async () => {
  const { container, exit, output } = await world.ran(['lines', '50000', '80'], log('none'));
  expect(exit.code).toBe(0);
  expect(output).toBe('');
  expect(logPathsOf(container)).toEqual([]);
});

it('writes a line while the container goes on running', async () => {
  const container = await world.started(['sleep']);
  await world.said(container, 'ready');
  expect(outputOf(container)).toBe('ready\n');
  await world.runtime.stop(container.id, { stopSignal: '', graceMs: 5_000 }, forever);
});
