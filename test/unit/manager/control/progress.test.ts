import { describe, expect, it } from 'vitest';
import type { ServiceId } from '../../../../common/model/ids.ts';
import { serviceProgress } from '../../../../manager/control/progress.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';

const runningSince = (runningAt: number) =>
  ({ status: { state: 'running', runningAt, appliedAt: runningAt } }) as const;
const at = (builder: ClusterBuilder, now: number, byUser = false) =>
  serviceProgress(builder.view, 'web' as ServiceId, now, { byUser });
const verdict = (builder: ClusterBuilder, now: number, byUser = false) => at(builder, now, byUser).verdict;

/** Two replicas, both running since 1,000. */
const both = () =>
  cluster(2).service('web', { replicas: 2 }).task('web.1', runningSince(1_000)).task('web.2', runningSince(1_000));

describe('the progress of a service', () => {
  it('has converged when all tasks have run for the monitor time', () => {
    expect(at(both(), 5_999)).toMatchObject({
      verdict: 'waiting',
      stableForMs: 4_999,
      stableNeedsMs: 5_000,
      wakeAt: 6_000,
    });
    expect(verdict(both(), 6_000)).toBe('converged');
  });

  it('counts the monitor time anew after a relapse', () => {
    const world = both().status('web.2', { state: 'failed', error: 'exit code 1' });
    expect(at(world, 9_000)).toMatchObject({
      verdict: 'waiting',
      stableForMs: 0,
      message: 'web.2 is failed: exit code 1',
    });
    world.edit('task', 'web.2', { desired: 'shutdown' }).task('web.2#2', { createdAt: 1, ...runningSince(9_500) });
    expect(at(world, 10_000)).toMatchObject({ verdict: 'waiting', wakeAt: 14_500 });
  });

  it('waits for tasks that are missing', () => {
    const world = cluster(1).service('web', { replicas: 2 }).task('web.1', runningSince(0));
    expect(at(world, 60_000)).toMatchObject({
      verdict: 'waiting',
      running: 1,
      desired: 2,
      message: '1 of 2 tasks are there',
    });
  });

  it('ends when a slot is given up for good, with the reason', () => {
    const once = () =>
      cluster(1)
        .service('web', { replicas: 2, restart: { condition: 'none' } })
        .task('web.1', runningSince(0))
        .task('web.2', runningSince(0));
    const world = once().status('web.2', { state: 'rejected', error: 'no /bin/none' });
    expect(at(world, 1_000)).toMatchObject({
      verdict: 'paused',
      message: 'web.2 is rejected (no /bin/none) and stays so: restart condition is none',
    });
    world.status('web.1', { state: 'starting' });
    expect(verdict(world, 1_000)).toBe('waiting');
  });

  it('waits for an unhealthy task and says so', () => {
    const world = both().status('web.1', { healthy: false, message: 'connection refused' });
    expect(at(world, 60_000)).toMatchObject({
      verdict: 'waiting',
      message: expect.stringContaining('unhealthy: connection refused'),
    });
  });

  it('tells for each node why a task cannot be placed', () => {
    const world = cluster(2)
      .drain('n1')
      .drain('n2')
      .service('web')
      .task('web.1', { node: '', pending: 'no suitable node (drained: 2 nodes)' });
    const progress = at(world, 0);
    expect(progress).toMatchObject({ verdict: 'waiting', cannotPlace: true });
    expect(progress.slots[0]).toMatchObject({ state: 'pending', message: 'no suitable node (drained: 2 nodes)' });
    expect(progress.slots[0]?.refusals.map(({ node }) => node)).toEqual(['n1', 'n2']);
  });

  it('waits until tasks of a smaller scale have stopped', () => {
    const world = both().scale('web', 1).edit('task', 'web.2', { desired: 'remove' });
    expect(at(world, 60_000)).toMatchObject({ verdict: 'waiting', message: '1 old task is stopping' });
    world.status('web.2', { state: 'shutdown' });
    expect(verdict(world, 60_000)).toBe('converged');
  });

  it('does not wait for tasks on silent nodes to stop', () => {
    const world = both()
      .scale('web', 1)
      .task('web.2', { node: 'n2', desired: 'remove', ...runningSince(0) })
      .silent('n2', 0);
    expect(verdict(world, 60_000)).toBe('converged');
  });

  it('has converged at zero replicas when nothing runs', () => {
    expect(verdict(cluster(1).service('web', { replicas: 0 }), 0)).toBe('converged');
  });

  it('waits for the old revision to be replaced', () => {
    const world = both().update('web', { replicas: 2 });
    world.respec('web', { template: { ...world.get('service', 'web').spec.template, forceUpdate: 1 } });
    expect(at(world, 60_000)).toMatchObject({ verdict: 'waiting', message: 'web.1 still runs the old revision' });
  });

  it('waits while a rollout goes on, though everything runs', () => {
    const world = both().rollout('web', { state: 'updating', message: 'update in progress' });
    expect(verdict(world, 60_000)).toBe('waiting');
  });

  it('is decided by a completed rollout without waiting for the monitor time twice', () => {
    const world = both().rollout('web', { state: 'completed', completedAt: 2_000 });
    expect(verdict(world, 2_001)).toBe('converged');
  });

  it('holds tasks that came after the rollout to the monitor time', () => {
    const world = both()
      .rollout('web', { state: 'completed', completedAt: 2_000 })
      .scale('web', 3)
      .task('web.3', runningSince(9_000));
    expect(verdict(world, 10_000)).toBe('waiting');
    expect(verdict(world, 14_000)).toBe('converged');
  });

  it('ends when the rollout is paused, with its words', () => {
    const message = 'update paused due to failure of task web.1';
    for (const state of ['paused', 'rollback_paused'] as const) {
      expect(at(both().rollout('web', { state, message }), 0)).toMatchObject({ verdict: 'paused', message });
    }
  });

  it('does not take an older rollout for its own', () => {
    expect(verdict(both().rollout('web', { target: 0, state: 'paused' }), 6_000)).toBe('converged');
  });

  it('ends as rolled back when the update failed and its rollback completed', () => {
    const world = both()
      .edit('service', 'web', { rolledBack: true })
      .rollout('web', { state: 'rollback_completed', completedAt: 2_000 });
    expect(verdict(world, 2_001)).toBe('rolled_back');
  });

  it('ends as converged when the user asked for the rollback', () => {
    const world = both()
      .edit('service', 'web', { rolledBack: true })
      .rollout('web', { state: 'rollback_completed', completedAt: 2_000 });
    expect(verdict(world, 2_001, true)).toBe('converged');
  });

  it('ends when the service is removed', () => {
    expect(verdict(both().delete('service', 'web'), 0)).toBe('removed');
  });
});
