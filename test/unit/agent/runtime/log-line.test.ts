import { expect, it } from 'vitest';
import { instantOf, parseLogEntry, parseLogLine } from '../../../../agent/runtime/log-line.ts';
import { signalNumber } from '../../../../agent/runtime/signal.ts';

it('takes a line of the log apart', () => {
  const line = parseLogLine('2026-11-21T10:09:42.123456789Z stderr P half a line');
  expect(line).toEqual({
    time: '2026-11-21T10:09:42.123456789Z',
    stream: 'stderr',
    partial: true,
    text: 'half a line',
  });
  expect(line && instantOf(line)).toBe(Date.UTC(2026, 10, 21, 10, 9, 42, 123));
});

it('keeps empty lines and spaces', () => {
  expect(parseLogLine('2026-11-21T10:09:42.000000000Z stdout F ')?.text).toBe('');
  expect(parseLogLine('2026-11-21T10:09:42.000000000Z stdout F  x ')?.text).toBe(' x ');
});

it.each([
  '',
  'x',
  '2026-11-21T10:09:42.1Z stdout F x',
  '2026-11-21T10:09:42.000000000Z stdin F x',
  '2026-11-21T10:09:42.000',
])('takes %j for no line', (text) => expect(parseLogLine(text)).toBeUndefined());

it("takes a line of Docker's json-file apart; a piece has no newline", () => {
  const stamp = '"stream":"stderr","time":"2026-11-21T10:09:42.123456789Z"}';
  const whole = parseLogEntry(Buffer.from(`{"log":"gr\u00fc\\u003cn\\n",${stamp}`));
  expect(whole).toMatchObject({ time: '2026-11-21T10:09:42.123456789Z', stream: 'stderr', partial: false });
  expect(String(Buffer.from(whole?.text ?? []))).toBe('gr\u00fc<n');
  expect(parseLogEntry(Buffer.from(`{"log":"half",${stamp}`))?.partial).toBe(true);
  expect(parseLogEntry(Buffer.from(`{"log":"torn`))).toBeUndefined();
});

it('keeps every byte of a line that is no UTF-8', () => {
  const bytes = [0, 0xff, 0xc3, 0x28, 9];
  const line = Buffer.concat([Buffer.from('2026-11-21T10:09:42.123456789Z stdout F '), Buffer.from(bytes)]);
  expect([...(parseLogEntry(line)?.text ?? [])]).toEqual(bytes);
});

it.each([
  ['', 15],
  ['SIGTERM', 15],
  ['int', 2],
  ['9', 9],
  ['64', 64],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
])('knows the signal %j as %i', (text, number) => expect(signalNumber(text)).toBe(number));

it.each(['0', '65', 'SIGFOO', '-1', '1.5', 'SIGRTMIN-1', 'SIGRTMAX+1'])('refuses the signal %j', (text) => {
  expect(() => signalNumber(text)).toThrow('is no signal');
});
