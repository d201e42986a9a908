import { expect, it } from 'vitest';
import {
  formatAge,
  formatBinary,
  formatBytes,
  formatDuration,
  parseBytes,
  parseCpus,
  parseDuration,
} from '../../../common/units.ts';

it.each([
  ['10s', 10_000],
  ['1m30s', 90_000],
  ['250ms', 250],
  ['1h', 3_600_000],
  ['1.5s', 1_500],
  ['0', 0],
  ['1ns', 1],
])('reads the duration %s as %d ms', (text, ms) => expect(parseDuration(text, 'f')).toBe(ms));

it.each(['', '10', '-1s', '10x', 's', '1s ', '99999999999h'])('refuses the duration "%s"', (text) => {
  expect(() => parseDuration(text, 'update-delay')).toThrow(
    expect.objectContaining({ code: 'invalid', field: 'update-delay' }),
  );
});

it.each([
  ['64m', 67_108_864],
  ['1g', 2 ** 30],
  ['512', 512],
  ['1.5k', 1_536],
  ['10MB', 10 * 2 ** 20],
  ['1GiB', 2 ** 30],
])('reads the size %s as %d bytes', (text, bytes) => expect(parseBytes(text, 'f')).toBe(bytes));

it.each(['', 'x', '-1', '1q', '99999999999999g'])('refuses the size "%s"', (text) => {
  expect(() => parseBytes(text, 'limit-memory')).toThrow(/is not a size/);
});

it('reads CPUs in billionths and refuses what is finer', () => {
  expect(parseCpus('0.5', 'f')).toBe(500_000_000);
  expect(() => parseCpus('0.0000000001', 'f')).toThrow(/number of CPUs/);
});

it('writes durations, sizes and ages as Docker does', () => {
  expect([formatDuration(90_000), formatDuration(250), formatDuration(3_600_000)]).toEqual(['1m30s', '250ms', '1h']);
  expect([formatBytes(0), formatBytes(1_234_567)]).toEqual(['0B', '1.235MB']);
  expect([formatBinary(0), formatBinary(1_023), formatBinary(1_234_567)]).toEqual(['0B', '1023B', '1.177MiB']);
  expect([formatAge(500), formatAge(5_000), formatAge(65_000), formatAge(7_200_000)]).toEqual([
    'Less than a second',
    '5 seconds',
    'About a minute',
    '2 hours',
  ]);
});
