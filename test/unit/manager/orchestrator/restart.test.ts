import { describe, expect, it } from 'vitest';
import { DEFAULT_RESTART, type RestartPolicy } from '../../../../common/model/service.ts';
import { NO_RESTARTS, type RestartCount, type TaskStatus } from '../../../../common/model/task.ts';
import { backOff, causeOf, restartVerdict } from '../../../../manager/orchestrator/restart.ts';
import { cluster } from '../../../support/cluster-builder.ts';

interface Death {
  readonly at: number;
  readonly ranMs?: number;
  readonly restarts?: RestartCount;
  readonly status?: Partial<TaskStatus>;
}

function verdict(policy: Partial<RestartPolicy>, { at, ranMs, restarts = NO_RESTARTS, status = {} }: Death) {
  const ran = ranMs === undefined ? {} : { since: at - ranMs };
  const world = cluster()
    .service('web')
    .failed('web.1', { at, restarts, status, ...ran });
  return restartVerdict(world.get('task', 'web.1'), world.get('task-status', 'web.1'), {
    ...DEFAULT_RESTART,
    ...policy,
  });
}

describe('the back-off', () => {
  it('waits exactly the delay before the first restart', () => {
    expect(backOff(5_000, 1)).toBe(5_000);
    expect(backOff(0, 1)).toBe(0);
  });

  it('doubles with every failure in a row, up to a minute', () => {
    expect([2, 3, 4, 5, 6, 99].map((streak) => backOff(5_000, streak))).toEqual([
      10_000, 20_000, 40_000, 60_000, 60_000, 60_000,
    ]);
  });

  it('keeps a policy without delay from becoming a busy loop', () => {
    expect([2, 3, 4].map((streak) => backOff(0, streak))).toEqual([200, 400, 800]);
  });

  it('never shortens a delay that is longer than its cap', () => {
    expect(backOff(90_000, 5)).toBe(90_000);
  });

  it('grows while a task does not run steadily', () => {
    const restarts = { total: 2, recent: [], streak: 2 };
    expect(verdict({}, { at: 1_000, ranMs: 900, restarts })).toMatchObject({
      notBefore: 21_000,
      restarts: { streak: 3 },
    });
  });

  it('begins anew after a task ran for ten seconds', () => {
    const restarts = { total: 7, recent: [], streak: 7 };
    const steady = verdict({}, { at: 20_000, ranMs: 10_000, restarts });
    expect(steady).toMatchObject({ notBefore: 25_000, restarts: { total: 8, streak: 1 } });
  });

  it('judges a task that its agent started again by its last run', () => {
    const runs = [
      { number: 1, startedAt: 0, endedAt: 60_000 },
      { number: 2, startedAt: 61_000, endedAt: 61_500 },
    ];
    const again = verdict({}, { at: 61_500, ranMs: 61_000, status: { runs } });
    expect(again).toMatchObject({ restarts: { total: 2, streak: 1 } });
    expect(
      verdict({}, { at: 61_500, ranMs: 61_000, restarts: { total: 1, recent: [], streak: 1 }, status: { runs } }),
    ).toMatchObject({
      restarts: { streak: 2 },
    });
  });
});

describe('the condition', () => {
  it('any restarts also what is complete', () => {
    expect(verdict({ condition: 'any' }, { at: 0, status: { state: 'complete', exitCode: 0 } }).kind).toBe('replace');
  });

  it('on-failure leaves what is complete and restarts what failed', () => {
    expect(verdict({ condition: 'on-failure' }, { at: 0, status: { state: 'complete' } }).kind).toBe('leave');
    expect(verdict({ condition: 'on-failure' }, { at: 0 }).kind).toBe('replace');
  });

  it('none leaves everything', () => {
    expect(verdict({ condition: 'none' }, { at: 0 })).toEqual({ kind: 'leave', because: 'restart condition is none' });
  });
});

describe('the attempts', () => {
  it('allow three runs in all when two restarts are allowed', () => {
    const used = (total: number) => verdict({ maxAttempts: 2 }, { at: 0, restarts: { total, recent: [], streak: 1 } });
    expect([used(0).kind, used(1).kind, used(2).kind]).toEqual(['replace', 'replace', 'leave']);
  });

  it('count only inside the window when there is one', () => {
    const policy = { maxAttempts: 2, windowMs: 10_000 };
    const recent = [1_000, 5_000];
    expect(verdict(policy, { at: 11_000, restarts: { total: 2, recent, streak: 1 } }).kind).toBe('leave');
    expect(verdict(policy, { at: 11_001, restarts: { total: 2, recent, streak: 1 } })).toMatchObject({
      kind: 'replace',
      restarts: { total: 3, recent: [5_000, 21_001] },
    });
  });

  it('carry no times without a window', () => {
    expect(verdict({ maxAttempts: 5 }, { at: 0 })).toMatchObject({ restarts: { total: 1, recent: [] } });
  });

  it('include the runs that the agent started while no manager could be reached', () => {
    const runs = [1, 2, 3].map((number) => ({ number, startedAt: number * 1_000 }));
    expect(verdict({ maxAttempts: 2 }, { at: 5_000, status: { runs } }).kind).toBe('leave');
    expect(verdict({ maxAttempts: 3 }, { at: 5_000, status: { runs } })).toMatchObject({ restarts: { total: 3 } });
  });

  it('are not used up by a stop that nobody asked for', () => {
    const restarts = { total: 2, recent: [], streak: 2 };
    const stopped = verdict({ maxAttempts: 2 }, { at: 1_000, restarts, status: { state: 'shutdown' } });
    expect(stopped).toEqual({ kind: 'replace', notBefore: 6_000, restarts });
  });
});

describe('the cause of an end', () => {
  const cause = (status: Partial<TaskStatus>) =>
    causeOf(
      cluster()
        .task('web.1', { status: { state: 'failed', ...status } })
        .get('task-status', 'web.1'),
    );

  it('is the error, the missing memory, the exit code, the signal or the message, whichever says most', () => {
    expect(cause({ error: 'no such file: /run.sh', exitCode: 127 })).toBe('no such file: /run.sh');
    expect(cause({ oomKilled: true, exitCode: 137 })).toBe('out of memory');
    expect(cause({ exitCode: 3 })).toBe('exit code 3');
    expect(cause({ signal: 9 })).toBe('killed by signal 9');
    expect(cause({ message: 'unhealthy' })).toBe('unhealthy');
    expect(cause({})).toBe('failed');
  });
});
