import { describe, expect, it } from 'vitest';
import type { TaskId } from '../../../../common/model/ids.ts';
import { update } from '../../../../manager/updater/update.ts';
import { at, type ClusterBuilder, cluster, render, type ServiceOptions } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder, now = 0): string =>
  render(world.view, update.decide(world.view, 'web', at(now)));

/** `web` with its slots running on revision 1, and an update to revision 2 that has begun. */
function updating(replicas: number, options: ServiceOptions = {}): ClusterBuilder {
  const world = cluster(Math.max(3, replicas)).service('web', { replicas });
  for (let slot = 1; slot <= replicas; slot += 1) world.running(`web.${slot}`, { node: `n${slot}` });
  return world.update('web', { image: 'ok:2', ...options }).rollout('web', { total: replicas });
}

/** The slot has been replaced: its new task is `web.1#2`, in this state. */
function replaced(world: ClusterBuilder, slot: number, now = 0): ClusterBuilder {
  const old = `web.${slot}`;
  world.edit('task', old, { desired: 'shutdown' }).status(old, { state: 'shutdown' });
  const made = { rollout: 2, origin: 'update', createdAt: now, replaces: old as TaskId } as const;
  return world.running(`${old}#2`, { node: `n${slot}`, at: now, ...made });
}

describe('an update begins', () => {
  it('not with the creation of a service', () => {
    expect(decide(cluster().service('web', { replicas: 3 }))).toBe('');
    expect(decide(cluster().service('web').running('web.1'))).toBe('');
  });

  it('when the contents of a task are not what the service wants', () => {
    const world = cluster().service('web').running('web.1').update('web', { image: 'ok:2' });
    expect(decide(world)).toBe('rollout web to r2: updating 0/1 (update in progress)');
  });

  it('and ends at once when nothing has to change', () => {
    const world = cluster()
      .service('web')
      .running('web.1')
      .update('web', { labels: { a: 'b' } });
    expect(decide(world)).toBe('rollout web to r2: completed 0/0 (update completed)');
  });

  it('and ends at once when the service is scaled to nothing', () => {
    const world = cluster().service('web', { replicas: 0 }).update('web', { image: 'ok:2' });
    expect(decide(world)).toBe('rollout web to r2: completed 0/0 (update completed)');
  });

  it('not with changes of labels, replicas or policies', () => {
    const world = cluster()
      .service('web')
      .running('web.1')
      .respec('web', { labels: { a: 'b' } })
      .scale('web', 3);
    expect(decide(world)).toBe('');
  });

  it('anew when a newer revision comes in the middle', () => {
    const world = replaced(updating(2), 1).update('web', { image: 'ok:3' });
    expect(decide(world)).toBe('rollout web to r3: updating 0/2 (update in progress)');
  });

  it('as a rollback when the spec in force came from one', () => {
    const world = replaced(updating(1), 1);
    const { previous, ...service } = world.get('service', 'web');
    if (previous === undefined) throw new Error('the service has been updated');
    world.put('service', 'web', { ...service, ...previous, rolledBack: true });
    expect(decide(world)).toBe('rollout web to r1: rollback_started 0/1 (manually requested rollback)');
  });
});

describe('stop-first', () => {
  it('holds the new task beside the old one, which is not told to stop yet', () => {
    expect(decide(updating(2))).toBe('+ web.1 r2 ready [update], after web.1, rollout 2');
  });

  it('stops an old task that does not serve at once, in the unit that makes the new one', () => {
    const world = updating(2).status('web.1', { healthy: false });
    expect(update.decide(world.view, 'web', at(0)).units).toHaveLength(1);
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (updated)\n+ web.1 r2 ready [update], after web.1, rollout 2',
    );
  });

  it('puts a newer revision in the place of one that is being prepared', () => {
    const world = updating(1).task('web.1#2', { desired: 'ready', rollout: 2, replaces: 'web.1' as TaskId });
    world.update('web', { image: 'ok:3' }).rollout('web');
    expect(decide(world)).toBe(
      '~ web.1#2 ready -> shutdown (updated)\n+ web.1 r3 ready [update], after web.1, rollout 3',
    );
  });

  it('fails with a replacement that cannot be prepared', () => {
    const world = updating(1).task('web.1#2', { desired: 'ready', rollout: 2, replaces: 'web.1' as TaskId });
    expect(decide(world.status('web.1#2', { state: 'rejected', error: 'no such image' }))).toBe(
      'rollout web to r2: paused 0/1 failed web.1#2 (update paused due to failure or early termination of task web.1.web.1#2: no such image)',
    );
  });

  it('lets the new task start at once where the old one is dead', () => {
    const world = updating(2).status('web.2', { state: 'failed' });
    expect(decide(world)).toBe(
      '~ web.2 running -> shutdown (updated)\n+ web.2 r2 running [update], after web.2, rollout 2',
    );
  });

  it('replaces a task that waits for its restart without waiting for it', () => {
    const world = cluster().service('web').failed('web.1', { desired: 'shutdown' });
    world.task('web.1#2', { node: '', desired: 'ready', notBefore: 60_000 }).update('web', { image: 'ok:2' });
    expect(decide(world.rollout('web'), 1_000)).toContain('+ web.1 r2 running [update]');
  });
});

describe('start-first', () => {
  it('starts the new task beside the old one', () => {
    expect(decide(updating(2, { update: { order: 'start-first' } }))).toBe(
      '+ web.1 r2 running [update], after web.1, rollout 2',
    );
  });

  it('stops an old task that does not serve at once', () => {
    const world = updating(1, { update: { order: 'start-first' } }).status('web.1', { healthy: false });
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (updated)\n+ web.1 r2 ready [update], after web.1, rollout 2',
    );
  });

  it('does not stop a task that has begun to serve meanwhile', () => {
    const world = updating(1, { update: { order: 'start-first' } }).status('web.1', { healthy: false });
    const [unit] = update.decide(world.view, 'web', at(0)).units;
    world.status('web.1', { healthy: true });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });

  it('does not stop a task whose node is heard again meanwhile', () => {
    const world = updating(1, { update: { order: 'start-first' } }).silent('n1', 0);
    const [unit] = update.decide(world.view, 'web', at(0)).units;
    world.edit('node-status', 'n1', { state: 'ready' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });

  it('does not start when the old task has changed meanwhile', () => {
    const world = updating(1, { update: { order: 'start-first' } });
    const [unit] = update.decide(world.view, 'web', at(0)).units;
    world.edit('task', 'web.1', { desired: 'shutdown' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });
});

describe('the pace', () => {
  it('is as many slots at once as the parallelism says, all of them for 0', () => {
    const starts = (parallelism: number) => decide(updating(3, { update: { parallelism } })).match(/\+/g)?.length;
    expect([1, 2, 0].map(starts)).toEqual([1, 2, 3]);
  });

  it('takes slots that serve nobody first, then those on drained nodes', () => {
    const world = updating(3, { update: { parallelism: 2 } })
      .drain('n2')
      .status('web.3', { state: 'failed' });
    expect(decide(world).match(/\+ web\.\d/g)).toEqual(['+ web.3', '+ web.2']);
  });

  it('waits until a replaced slot has been running for the monitor', () => {
    const world = replaced(updating(2), 1, 1_000);
    expect(decide(world, 5_999)).toBe('wake at 6000');
    expect(decide(world, 6_000)).toBe('rollout web to r2: updating 1/2 (update in progress)');
  });

  it('does not count the time in which the new task is not well', () => {
    const world = replaced(updating(2), 1).status('web.1#2', { healthy: false });
    expect(decide(world, 60_000)).toBe('wake at 600000');
  });

  it('waits for the delay after the last slot was done', () => {
    const world = replaced(updating(2, { update: { delayMs: 10_000 } }), 1);
    world.rollout('web', { total: 2, done: [1], lastDoneAt: 5_000 });
    expect(decide(world, 14_999)).toBe('wake at 15000');
    expect(decide(world, 15_000)).toContain('+ web.2 r2');
  });

  it('gives the place of a failed slot to the next one when the ratio allows it', () => {
    const world = replaced(updating(4, { update: { maxFailureRatio: 0.25 } }), 1);
    world.rollout('web', { total: 4, failed: [{ slot: 1, taskId: 'web.1#2' as TaskId }] });
    expect(decide(world.status('web.1#2', { state: 'failed', at: 1_000 }), 1_000)).toContain('+ web.2 r2');
  });

  it('never starts a slot in the plan that writes the rollout', () => {
    const plan = update.decide(replaced(updating(2), 1).view, 'web', at(9_000));
    expect(plan.units.flat().map((write) => write.kind)).toEqual(['rollout']);
  });

  it('ties every start to the rollout as it was seen', () => {
    const world = updating(1);
    const [unit] = update.decide(world.view, 'web', at(0)).units;
    world.edit('rollout', 'web', { state: 'paused' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });

  it('leaves a paused rollout alone', () => {
    expect(decide(updating(2).edit('rollout', 'web', { state: 'paused' }), 99_000_000)).toBe('');
  });
});

describe('a failure', () => {
  const failing = (options: ServiceOptions = {}, state = 'failed') =>
    replaced(updating(4, options), 1).status('web.1#2', { state: state as 'failed', exitCode: 1, at: 2_000 });
  const message = 'due to failure or early termination of task web.1.web.1#2: exit code 1';

  it('pauses the update and names the task', () => {
    expect(decide(failing(), 2_000)).toBe(`rollout web to r2: paused 0/4 failed web.1#2 (update paused ${message})`);
  });

  it('is also an exit with code 0 and a rejection', () => {
    expect(decide(failing({}, 'complete'), 2_000)).toContain('paused');
    expect(decide(failing({}, 'rejected'), 2_000)).toContain('paused');
  });

  it('is seen though the task has been replaced already', () => {
    const world = failing().edit('task', 'web.1#2', { desired: 'shutdown', desiredAt: 2_000 });
    expect(decide(world.task('web.1#3', { desired: 'ready', rollout: 2, notBefore: 7_000 }), 2_000)).toContain(
      'paused',
    );
  });

  it('is none when the task had been told to stop', () => {
    const world = failing().edit('task', 'web.1#2', { desired: 'shutdown', desiredAt: 1_000 });
    expect(decide(world.running('web.1#3', { rollout: 2, at: 2_000 }), 2_000)).toBe('wake at 7000');
  });

  it('is none when its host stopped the task', () => {
    expect(decide(failing({}, 'shutdown'), 2_000)).not.toContain('paused');
  });

  it('is none after the monitor', () => {
    expect(decide(failing().status('web.1#2', { appliedAt: 5_000 }), 5_000)).not.toContain('failed');
  });

  it('is none when it was of an earlier rollout to the same revision', () => {
    const world = failing().rollout('web', { total: 4, startedAt: 1_000 }).edit('task', 'web.1#2', { createdAt: 500 });
    expect(decide(world, 2_000)).not.toContain('paused');
  });

  it('counts once a slot, and only when more than the ratio have failed', () => {
    const world = failing({ update: { maxFailureRatio: 0.25 } });
    expect(decide(world, 2_000)).toBe('rollout web to r2: updating 0/4 failed web.1#2 (update in progress)');
    world.edit('rollout', 'web', { failed: [{ slot: 1, taskId: 'web.1#2' as TaskId }], lastDoneAt: 2_000 });
    world.edit('task', 'web.1#2', { desired: 'shutdown', desiredAt: 2_000 });
    world.failed('web.1#3', { rollout: 2, at: 3_000 });
    expect(decide(world, 3_000)).not.toContain('failed');
  });

  it('goes back to the spec before, in the same unit', () => {
    const world = failing({ update: { failureAction: 'rollback' } });
    expect(update.decide(world.view, 'web', at(2_000)).units).toHaveLength(1);
    expect(decide(world, 2_000)).toBe(
      `service web: r1 rolled back\nrollout web to r1: rollback_started 0/1 (update rolled back ${message})`,
    );
  });

  it('pauses when there is nothing to go back to', () => {
    const world = failing({ update: { failureAction: 'rollback' } });
    const { previous: _, ...service } = world.get('service', 'web');
    expect(decide(world.put('service', 'web', service), 2_000)).toContain(
      `(update paused ${message}; there is no earlier spec to roll back to)`,
    );
  });

  it('never makes a rollback roll back', () => {
    const world = failing({ rollback: { failureAction: 'rollback' } });
    world.edit('rollout', 'web', { state: 'rollback_started' });
    expect(decide(world, 2_000)).toContain('rollout web to r2: rollback_paused');
  });

  it('does not stop an update that continues', () => {
    const world = failing({ update: { failureAction: 'continue' } });
    expect(decide(world, 2_000)).toBe('rollout web to r2: updating 0/4 failed web.1#2 (update in progress)');
  });
});

describe('the progress deadline', () => {
  const stuck = (options: ServiceOptions = {}) => {
    const world = updating(2, { update: { progressDeadlineMs: 60_000 }, ...options });
    world.edit('task', 'web.1', { desired: 'shutdown' }).status('web.1', { state: 'shutdown' });
    return world.task('web.1#2', { node: '', rollout: 2, pending: 'no suitable node (out of memory on 3 nodes)' });
  };
  const reason = 'as slot 1 got no further in 1 min (task web.1.web.1#2): no suitable node (out of memory on 3 nodes)';

  it('fires the failure action, with the slot and what it waits for', () => {
    expect(decide(stuck(), 59_999)).toBe('wake at 60000');
    expect(decide(stuck(), 60_000)).toBe(`rollout web to r2: paused 0/2 (update paused ${reason})`);
  });

  it('rolls back when the policy says so', () => {
    const update_ = { progressDeadlineMs: 60_000, failureAction: 'rollback' } as const;
    expect(decide(stuck({ update: update_ }), 60_000)).toContain('rollback_started');
  });

  it('pauses an update that continues past failures', () => {
    const update_ = { progressDeadlineMs: 60_000, failureAction: 'continue' } as const;
    expect(decide(stuck({ update: update_ }), 60_000)).toContain('rollout web to r2: paused');
  });

  it('counts from the last slot that was done, and not through the delay', () => {
    const world = stuck({ update: { progressDeadlineMs: 60_000, delayMs: 300_000 } });
    world.edit('rollout', 'web', { progressAt: 10_000, lastDoneAt: 10_000 });
    expect(decide(world, 369_999)).toBe('wake at 370000');
    expect(decide(world, 370_000)).toContain('paused');
  });

  it('does not fire while the new tasks run, however long the monitor is', () => {
    const world = replaced(updating(2, { update: { progressDeadlineMs: 60_000, monitorMs: 3_600_000 } }), 1);
    expect(decide(world, 3_000_000)).toBe('wake at 3600000');
  });

  it('says that a task with a node is not ready yet', () => {
    const world = stuck().task('web.1#2', {
      rollout: 2,
      status: { state: 'starting', message: 'waiting for port 80' },
    });
    expect(decide(world, 60_000)).toContain('waiting for port 80');
  });
});

describe('an update is completed', () => {
  it('when every slot has held out', () => {
    const world = replaced(replaced(updating(2), 1), 2, 1_000).edit('rollout', 'web', { done: [1] });
    expect(decide(world, 5_999)).toBe('wake at 6000');
    expect(decide(world, 6_000)).toBe('rollout web to r2: completed 2/2 (update completed)');
  });

  it('not before a slot that failed has held out too', () => {
    const world = replaced(updating(1, { update: { maxFailureRatio: 1 } }), 1, 4_000);
    world.edit('rollout', 'web', { failed: [{ slot: 1, taskId: 'x' as TaskId }] });
    expect(decide(world, 8_999)).toBe('wake at 9000');
    expect(decide(world, 9_000)).toBe('rollout web to r2: completed 1/1 failed x (update completed)');
  });

  it('not while an old task stands beside the new one', () => {
    const world = updating(1).running('web.1#2', { rollout: 2, replaces: 'web.1' as TaskId, node: 'n2' });
    expect(decide(world, 60_000)).toBe('');
  });

  it('not before new slots from scaling up have held out', () => {
    const world = replaced(updating(1), 1)
      .edit('rollout', 'web', { done: [1] })
      .running('web.2', { at: 4_000, createdAt: 1 });
    expect(decide(world, 8_000)).toBe('wake at 9000');
    expect(decide(world, 9_000)).toContain('completed');
  });

  it('when all that is left of the service is nothing', () => {
    const world = updating(1).edit('task', 'web.1', { desired: 'remove' }).scale('web', 0);
    expect(decide(world, 1_000)).toBe('rollout web to r2: completed 0/1 (update completed)');
  });

  it('and its state is never written again', () => {
    const world = replaced(updating(1), 1).edit('rollout', 'web', { state: 'completed', done: [1] });
    expect(decide(world.status('web.1#2', { state: 'failed', at: 3_000 }), 3_000)).toBe('');
  });
});
