import { expect, it } from 'vitest';
import { logFlaw, logSettings } from '../../../../common/model/log-policy.ts';

const MIB = 1 << 20;

it('bounds every log, whatever was said', () => {
  const plain = { driver: 'local', maxBytes: 10 * MIB, files: 5, compress: true, bufferBytes: 0 };
  expect(logSettings(undefined)).toEqual(plain);
  expect(logSettings({ driver: 'json-file', options: {} })).toEqual({ ...plain, driver: 'json-file', compress: false });
});

it('takes the options as Docker writes them', () => {
  const options = {
    'max-size': '1.5g',
    'max-file': '3',
    compress: 'true',
    mode: 'non-blocking',
    'max-buffer-size': '4m',
  };
  expect(logFlaw({ driver: 'json-file', options }, 'log')).toBeUndefined();
  expect(logSettings({ driver: 'json-file', options })).toEqual({
    driver: 'json-file',
    maxBytes: 1_536 * MIB,
    files: 3,
    compress: true,
    bufferBytes: 4 * MIB,
  });
  expect(logSettings({ driver: 'local', options: { mode: 'non-blocking' } }).bufferBytes).toBe(MIB);
  expect(logSettings({ driver: 'local', options: { 'max-file': '1' } }).compress).toBe(false);
});

it.each([
  ['syslog', {}, 'log.driver'],
  ['local', { tag: 'x' }, 'log.options.tag'],
  ['none', { 'max-size': '1m' }, 'log.options.max-size'],
  ['local', { 'max-size': '10' }, 'log.options.max-size'],
  ['local', { 'max-size': 'ten' }, 'log.options.max-size'],
  ['local', { 'max-file': '0' }, 'log.options.max-file'],
  ['local', { 'max-file': '1', compress: 'true' }, 'log.options.compress'],
  ['local', { compress: 'maybe' }, 'log.options.compress'],
  ['local', { mode: 'fast' }, 'log.options.mode'],
  ['local', { 'max-buffer-size': '1m' }, 'log.options.max-buffer-size'],
  ['local', { mode: 'non-blocking', 'max-buffer-size': '1k' }, 'log.options.max-buffer-size'],
])('refuses driver %s with %j, naming %s', (driver, options, field) => {
  const flaw = logFlaw({ driver, options: options as Record<string, string> }, 'log');
  expect(flaw).toMatchObject({ field });
  expect(flaw?.hint).not.toBe('');
});
