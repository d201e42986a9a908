import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { afterProbe, newHealth, probeDelayMs } from '../../../agent/health/health-state.ts';
import { connects, waitForPorts } from '../../../agent/health/port-probe.ts';
import { readinessOf } from '../../../agent/health/readiness.ts';
import { afterFailure, afterSession, FIRST_ATTEMPT, nextDial } from '../../../agent/managers.ts';
import { Outbox } from '../../../agent/outbox.ts';
import { nextRun } from '../../../agent/runs.ts';
import { systemClock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { aHeld, PORT_80 } from '../../support/agent-rig.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { aTaskStatus } from '../../support/fixtures.ts';

const CHECK = {
  test: ['CMD', '/check'],
  intervalMs: 30_000,
  timeoutMs: 1_000,
  retries: 3,
  startPeriodMs: 10_000,
  startIntervalMs: 1_000,
};
const passed = (finishedAt: number) => ({ passed: true, output: 'ok', finishedAt });
const failed = (finishedAt: number) => ({ passed: false, output: 'no\n', finishedAt });

describe('health', () => {
  it('probes at the start interval within the start period, at the interval afterwards', () => {
    const health = newHealth(0, 'starting');
    expect(probeDelayMs(health, CHECK, 0)).toBe(1_000);
    expect(probeDelayMs(health, CHECK, 10_000)).toBe(30_000);
    expect(probeDelayMs(afterProbe(health, CHECK, passed(1_000)), CHECK, 1_000)).toBe(30_000);
  });

  it('excuses failures within the start period only until the first success', () => {
    let health = newHealth(0, 'starting');
    for (let at = 1_000; at < 10_000; at += 1_000) health = afterProbe(health, CHECK, failed(at));
    expect(health).toMatchObject({ verdict: 'starting', failures: 0 });
    health = afterProbe(newHealth(0, 'starting'), CHECK, passed(1_000));
    expect(afterProbe(health, CHECK, failed(2_000))).toMatchObject({ verdict: 'healthy', failures: 1 });
  });

  it('is unhealthy after as many failures in a row as there are retries, and one success counts them anew', () => {
    let health = newHealth(0, 'healthy');
    for (const result of [failed(1), failed(2), passed(3), failed(4), failed(5)])
      health = afterProbe(health, CHECK, result);
    expect(health).toMatchObject({ verdict: 'healthy', failures: 2 });
    expect(afterProbe(health, CHECK, failed(6))).toMatchObject({ verdict: 'unhealthy', output: 'no' });
  });
});

describe('readiness', () => {
  const image = { container: { health: { kind: 'image' } } } as const;

  it('is the health command, else the published tcp ports, else nothing', () => {
    expect(readinessOf(aHeld('t', { ...image, ports: [PORT_80] }), CHECK)).toEqual({ kind: 'command', check: CHECK });
    const udp = { ...PORT_80, protocol: 'udp', target: 53 } as const;
    expect(readinessOf(aHeld('t', { ...image, ports: [PORT_80, udp] }), undefined)).toEqual({
      kind: 'ports',
      ports: [80],
    });
    expect(readinessOf(aHeld('t', { ...image, ports: [udp] }), undefined)).toEqual({ kind: 'none' });
  });

  it('is nothing at all with --no-healthcheck, whatever image and ports say', () => {
    expect(readinessOf(aHeld('t', { ports: [PORT_80] }), CHECK)).toEqual({ kind: 'none' });
  });
});

describe('the port probe', () => {
  const server = createServer((socket) => socket.destroy());
  afterEach(() => void server.close());

  it('answers undefined once all ports accept, and names the one that does not in time', async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const ask = (ports: readonly number[]) =>
      waitForPorts(
        { address: '127.0.0.1', ports, until: Date.now() + 100, clock: systemClock, connects },
        new AbortController().signal,
      );
    expect(await ask([port])).toBeUndefined();
    expect(await ask([port, 1])).toBe(1);
  });

  it('looks again after 5 ms, then less and less often, at least every 250 ms', async () => {
    const clock = new FakeClock();
    const looks: number[] = [];
    const refuses = () => {
      looks.push(clock.now());
      return Promise.resolve(false);
    };
    const question = { address: '192.0.2.1', ports: [80], until: 1_000, clock, connects: refuses };
    const answer = waitForPorts(question, new AbortController().signal);
    for (let ms = 0; ms < 1_100; ms += 5) {
      await settle();
      clock.advance(5);
    }
    expect(await answer).toBe(80);
    expect(looks).toEqual([0, 5, 15, 35, 75, 155, 315, 565, 815, 1_000]);
  });
});

describe('a further run without a manager', () => {
  const lost = { kind: 'lost', since: 0, failoverAfterMs: 15_000 } as const;
  const exit = { code: 1, signal: null, oomKilled: false, startedAt: 0, finishedAt: 1_000 };
  const runs = [{ number: 1, startedAt: 0, endedAt: 1_000, exitCode: 1 }];
  const held = (restart: object, failoverAfterMs?: number) => {
    const policy = { condition: 'any', delayMs: 100, maxAttempts: 0, windowMs: 0, ...restart };
    const made = aHeld('t', { template: { restart: policy } as never });
    return failoverAfterMs === undefined ? made : { ...made, revision: { ...made.revision, failoverAfterMs } };
  };
  const verdict = (restart: object, now: number, more: object = {}) =>
    nextRun({ held: held(restart), runs, exit, failed: false, ...more }, lost, now);

  it('waits for a third of the failover time, which a service may have of its own', () => {
    expect(verdict({}, 4_999)).toEqual({ kind: 'wait', until: 5_000 });
    expect(verdict({}, 5_000)).toEqual({ kind: 'run' });
    expect(nextRun({ held: held({}, 3_000), runs, exit, failed: false }, lost, 1_100)).toEqual({ kind: 'run' });
  });

  it('follows the restart condition', () => {
    const success = { exit: { ...exit, code: 0 } };
    expect(verdict({ condition: 'none' }, 9_000)).toEqual({ kind: 'end' });
    expect(verdict({ condition: 'on-failure' }, 9_000, success)).toEqual({ kind: 'end' });
    expect(verdict({ condition: 'on-failure' }, 9_000)).toEqual({ kind: 'run' });
    expect(verdict({ condition: 'any' }, 9_000, success)).toEqual({ kind: 'run' });
  });

  it('waits longer after each quick death', () => {
    const many = [1, 2, 3, 4].map((number) => ({ number, startedAt: number * 1_000, endedAt: number * 1_000 + 1 }));
    expect(verdict({ delayMs: 1_000 }, 6_000, { runs: many })).toEqual({ kind: 'wait', until: 4_001 + 8_000 });
  });
});

describe('the choice of a manager', () => {
  const hint = new ClusterError('unavailable', 'this manager does not lead', {
    hint: 'ask the leader at 10.0.0.2:2377',
  });

  const at = (address: string, known: readonly string[]) => ({ address, known });

  it('waits up to 100 ms, 300 ms and so on to 4 s, by chance, and begins anew after a session', () => {
    let attempts = FIRST_ATTEMPT;
    const waits: number[] = [];
    for (let n = 0; n < 9; n += 1) {
      waits.push(nextDial(['a:1'], attempts, () => 0.999).delayMs);
      attempts = afterFailure(attempts, new Error('x'), at('a:1', ['a:1']));
    }
    expect(waits).toEqual([0, 99, 299, 699, 1_498, 3_096, 3_996, 3_996, 3_996]);
    expect(nextDial(['a:1'], afterSession(undefined), () => 0.5).delayMs).toBe(50);
  });

  it('gives each manager its turn before it waits, so that a new leader is found in time', () => {
    const known = ['a:1', 'b:1', 'c:1'];
    let attempts = afterSession(undefined);
    const dials: [string | undefined, number][] = [];
    for (let n = 0; n < 6; n += 1) {
      const { address, delayMs } = nextDial(known, attempts, () => 0.5);
      dials.push([address, delayMs]);
      attempts = afterFailure(attempts, new Error('x'), at(address ?? '', known));
    }
    expect(dials.map(([, delayMs]) => delayMs)).toEqual([50, 0, 0, 150, 0, 0]);
    expect(new Set(dials.slice(0, 3).map(([address]) => address))).toEqual(new Set(known));
  });

  it('follows the hint to the leader at once, but not in circles', () => {
    let attempts = FIRST_ATTEMPT;
    for (let n = 0; n < 3; n += 1) {
      attempts = afterFailure(attempts, hint, at('a:1', ['a:1']));
      expect(nextDial(['a:1'], attempts, () => 0)).toEqual({ address: '10.0.0.2:2377', delayMs: 0 });
    }
    expect(nextDial(['a:1'], afterFailure(attempts, hint, at('10.0.0.2:2377', ['a:1'])), () => 0).address).toBe('a:1');
  });
});

describe('the outbox', () => {
  it('has one report in flight and tells a slow manager only the newest status', async () => {
    const clock = new FakeClock();
    const outbox = new Outbox(clock, new AbortController().signal);
    const sent: unknown[] = [];
    const read = (async () => {
      for await (const message of outbox.messages) {
        sent.push([message.report?.sequence, message.report?.statuses?.map((status) => status.state)]);
      }
    })();
    const { task } = aHeld('t1');
    outbox.open([aTaskStatus(task, 'accepted')]);
    clock.advance(2);
    for (const state of ['preparing', 'ready', 'running'] as const) outbox.report(aTaskStatus(task, state));
    clock.advance(100);
    await settle();
    expect(sent).toEqual([[1, ['accepted']]]);
    outbox.acked(1);
    await settle();
    expect(sent).toEqual([
      [1, ['accepted']],
      [2, ['running']],
    ]);
    outbox.end();
    await read;
  });
});
