import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { freeAddress, freePort } from '../../../agent/engine/addresses.ts';
import { parseNetworkUse } from '../../../agent/engine/network-use.ts';
import { afterEnd, type End } from '../../../agent/engine/restart-policy.ts';
import { nextAddress } from '../../../manager/allocator/addresses.ts';

const end = (change: Partial<End> = {}): End => ({
  exitCode: 1,
  ranMs: 10,
  wasStopped: false,
  restarts: 0,
  lastDelayMs: 0,
  ...change,
});
const policy = (restart: 'no' | 'on-failure' | 'always' | 'unless-stopped', restartMax = 0) => ({
  restart,
  restartMax,
});

describe('the restart policy of a container without a service', () => {
  it('rests under `no`, and once a user wanted its end', () => {
    expect(afterEnd(policy('no'), end())).toEqual({ kind: 'rest' });
    for (const each of ['on-failure', 'always', 'unless-stopped'] as const) {
      expect(afterEnd(policy(each), end({ wasStopped: true }))).toEqual({ kind: 'rest' });
    }
  });

  it('runs again on failures only, so often as was said', () => {
    expect(afterEnd(policy('on-failure'), end({ exitCode: 0 }))).toEqual({ kind: 'rest' });
    expect(afterEnd(policy('on-failure', 3), end({ restarts: 2 })).kind).toBe('again');
    expect(afterEnd(policy('on-failure', 3), end({ restarts: 3 })).kind).toBe('rest');
    expect(afterEnd(policy('on-failure'), end({ restarts: 1_000 })).kind).toBe('again');
    expect(afterEnd(policy('always'), end({ exitCode: 0 })).kind).toBe('again');
  });

  it('waits twice as long each time, a minute at most, and from the beginning after a run that held out', () => {
    const delays: number[] = [];
    for (let lastDelayMs = 0; delays.length < 12; ) {
      const verdict = afterEnd(policy('always'), end({ lastDelayMs }));
      lastDelayMs = verdict.kind === 'again' ? verdict.delayMs : 0;
      delays.push(lastDelayMs);
    }
    expect(delays).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000]);
    const steady = afterEnd(policy('always'), end({ lastDelayMs: 60_000, ranMs: 10_000 }));
    expect(steady).toEqual({ kind: 'again', delayMs: 100 });
  });
});

describe('addresses that a node gives out itself', () => {
  it('are never those that tasks get, and all of them are given before one is given again', () => {
    const bits = fc.integer({ min: 20, max: 29 });
    fc.assert(
      fc.property(bits, (length) => {
        const block = `10.64.0.0/${length}`;
        const tasks = new Set<string>();
        for (let last: string | undefined; ; ) {
          last = nextAddress(block, tasks, new Set(), last);
          if (last === undefined) break;
          tasks.add(last);
        }
        const own = new Set<string>();
        for (let last: string | undefined; ; ) {
          last = freeAddress(block, own, last);
          if (last === undefined) break;
          expect(tasks.has(last)).toBe(false);
          own.add(last);
        }
        const size = 2 ** (32 - length);
        // Network, host and broadcast address are nobody's.
        expect(tasks.size + own.size).toBe(size - 3);
      }),
      { numRuns: 10 },
    );
  });

  it('go round, so that a stale connection does not reach the next container', () => {
    expect(freeAddress('10.64.1.0/24', new Set(), undefined)).toBe('10.64.1.192');
    expect(freeAddress('10.64.1.0/24', new Set(['10.64.1.193']), '10.64.1.192')).toBe('10.64.1.194');
    expect(freeAddress('10.64.1.0/24', new Set(), '10.64.1.254')).toBe('10.64.1.192');
  });
});

it('gives the lowest port that no container here has', () => {
  expect(freePort('tcp', new Set(['49152/tcp', '49153/udp']))).toBe(49_153);
  expect(freePort('udp', new Set(['49152/tcp']))).toBe(49_152);
});

it('counts what was received and sent over all interfaces but loopback', () => {
  const text = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
    '    lo:     999       9    0    0    0     0          0         0      999       9    0    0    0     0       0          0',
    '  eth0:    1200      10    0    0    0     0          0         0      340       4    0    0    0     0       0          0',
    '  eth1:      30       1    0    0    0     0          0         0        2       1    0    0    0     0       0          0',
    '',
  ].join('\n');
  expect(parseNetworkUse(text)).toEqual({ receivedBytes: 1_230, sentBytes: 342 });
  expect(parseNetworkUse('')).toEqual({ receivedBytes: 0, sentBytes: 0 });
});
