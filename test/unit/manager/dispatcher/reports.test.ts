import { describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import type { NodeId } from '../../../../common/model/ids.ts';
import type { TaskStatus } from '../../../../common/model/task.ts';
import { BATCH_MS, Reports } from '../../../../manager/dispatcher/reports.ts';
import type { Reign, Unit } from '../../../../manager/store/store.ts';
import { cluster } from '../../../support/cluster-builder.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { aTaskStatus } from '../../../support/fixtures.ts';
import type { MemoryReign } from '../../../support/memory-store.ts';

const n1 = 'n1' as NodeId;

/** Reports into a cluster with tasks web.1 on n1 and web.2 on n2, through a reign whose commits may be made to fail. */
function rig() {
  const world = cluster(2).service('web', { replicas: 2 }).task('web.1', { node: 'n1' }).task('web.2', { node: 'n2' });
  const clock = new FakeClock(1_000);
  const memory: MemoryReign = world.store.etcd.enthrone({ managerId: 'm' as never, address: 'm:1' }, 0);
  const commits: (readonly Unit[])[] = [];
  let failures: unknown[] = [];
  const reign: Reign = {
    epoch: memory.epoch,
    lost: memory.lost,
    resign: () => memory.resign(),
    async commit(units, signal) {
      commits.push(units);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return memory.commit(units, signal);
    },
  };
  const reports = new Reports(world.store, reign, clock);
  const status = (id: string, state: TaskStatus['state']) => aTaskStatus(world.get('task', id), state);
  const pass = async (ms = BATCH_MS): Promise<void> => {
    await settle();
    clock.advance(ms);
    await settle();
  };
  const fail = (...causes: unknown[]): void => {
    failures = causes;
  };
  /** `pending`, `stored` or the failure's code. */
  const outcome = (stored: Promise<void>) => {
    const seen = { now: 'pending' };
    stored.then(
      () => {
        seen.now = 'stored';
      },
      (cause: unknown) => {
        seen.now = cause instanceof ClusterError ? cause.code : String(cause);
      },
    );
    return seen;
  };
  return { world, reports, commits, memory, status, pass, fail, outcome };
}

describe('the batch of reports', () => {
  it('puts what comes within a few milliseconds into one commit', async () => {
    const r = rig();
    const first = r.outcome(r.reports.stored(n1, [r.status('web.1', 'accepted')]));
    const second = r.outcome(r.reports.stored('n2' as NodeId, [r.status('web.2', 'accepted')]));
    expect([first.now, second.now]).toEqual(['pending', 'pending']);
    await r.pass();
    expect(r.commits.map((units) => units.length)).toEqual([2]);
    expect([first.now, second.now]).toEqual(['stored', 'stored']);
  });

  it('keeps of several reports of one task the latest state, and that it had run', async () => {
    const r = rig();
    const all = (['starting', 'running', 'failed'] as const).map((state) =>
      r.outcome(r.reports.stored(n1, [r.status('web.1', state)])),
    );
    await r.pass();
    expect(all.map(({ now }) => now)).toEqual(['stored', 'stored', 'stored']);
    expect(r.world.get('task-status', 'web.1')).toMatchObject({ state: 'failed', runningAt: 1_000 });
  });

  it('does not let another node’s claim push out the owner’s word', async () => {
    const r = rig();
    const owner = r.outcome(r.reports.stored(n1, [r.status('web.1', 'running')]));
    const liar = r.outcome(r.reports.stored('n2' as NodeId, [r.status('web.1', 'failed')]));
    await r.pass();
    expect([owner.now, liar.now]).toEqual(['stored', 'stored']);
    expect(r.world.get('task-status', 'web.1')).toMatchObject({ state: 'running', nodeId: 'n1' });
  });

  it('holds one report that names a task twice for one', async () => {
    const r = rig();
    const twice = r.outcome(r.reports.stored(n1, [r.status('web.1', 'accepted'), r.status('web.1', 'running')]));
    await r.pass();
    expect(twice.now).toBe('stored');
    expect(r.world.get('task-status', 'web.1').state).toBe('running');
  });

  it('tries again after an outage of the store, and says nothing before', async () => {
    const r = rig();
    r.fail(new ClusterError('unavailable', 'etcd does not answer'));
    const report = r.outcome(r.reports.stored(n1, [r.status('web.1', 'running')]));
    await r.pass();
    expect(report.now).toBe('pending');
    await r.pass(200);
    expect(report.now).toBe('stored');
    expect(r.world.get('task-status', 'web.1').state).toBe('running');
  });

  it('judges a report anew when somebody else has written meanwhile', async () => {
    const r = rig();
    const report = r.outcome(r.reports.stored(n1, [r.status('web.1', 'running')]));
    r.world.store.hold();
    r.world.store.etcd.commit([
      [{ op: 'put', kind: 'task-status', id: 'web.1', value: r.status('web.1', 'starting') } as never],
    ]);
    await r.pass();
    expect(report.now).toBe('pending');
    r.world.store.release();
    await r.pass();
    expect(report.now).toBe('stored');
    expect(r.world.get('task-status', 'web.1').state).toBe('running');
  });

  it('fails for everybody when the lead is lost', async () => {
    const r = rig();
    const report = r.outcome(r.reports.stored(n1, [r.status('web.1', 'running')]));
    r.world.store.etcd.depose();
    await r.pass();
    expect(report.now).not.toBe('pending');
    expect(report.now).not.toBe('stored');
    expect(r.world.view.get('task-status', 'web.1')).toBeUndefined();
  });

  it('leaves no status behind of a task that is deleted at the same time', async () => {
    const r = rig();
    const report = r.outcome(r.reports.stored(n1, [r.status('web.1', 'accepted')]));
    r.world.store.hold();
    r.world.store.etcd.commit([[{ op: 'delete', kind: 'task', id: 'web.1' } as never]]);
    await r.pass();
    r.world.store.release();
    await r.pass();
    expect(report.now).toBe('stored');
    expect(r.world.view.get('task-status', 'web.1')).toBeUndefined();
  });

  it('has nothing to commit for an empty report', async () => {
    const r = rig();
    await r.reports.stored(n1, []);
    expect(r.commits).toEqual([]);
  });
});
