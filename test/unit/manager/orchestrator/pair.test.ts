import { describe, expect, it } from 'vitest';
import type { TaskId } from '../../../../common/model/ids.ts';
import { replicated } from '../../../../manager/orchestrator/replicated.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder, now = 0): string =>
  render(world.view, replicated.decide(world.view, 'web', at(now)));

describe('a drained node', () => {
  const moving = () =>
    cluster()
      .service('web')
      .running('web.1')
      .drain('n1')
      .task('web.1#2', { node: 'n2', origin: 'move', replaces: 'web.1' as TaskId });

  it('has successors started before its tasks stop', () => {
    expect(decide(cluster().service('web').running('web.1').drain('n1'))).toBe(
      '+ web.1 r1 running [move], after web.1',
    );
  });

  it('keeps a task until its successor is running and healthy', () => {
    const world = moving();
    expect(decide(world)).toBe('');
    world.status('web.1#2', { state: 'running', healthy: false });
    expect(decide(world)).toBe('');
    world.status('web.1#2', { healthy: true });
    expect(decide(world)).toBe('~ web.1 running -> shutdown (node n1 is drained)');
  });

  it('does not stop the old task when its successor has failed meanwhile', () => {
    const world = moving().status('web.1#2', { state: 'running' });
    const [unit] = replicated.decide(world.view, 'web', at(0)).units;
    world.status('web.1#2', { state: 'failed' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });

  it('moves a task that does not serve yet without waiting', () => {
    const world = cluster()
      .service('web')
      .task('web.1', { status: { state: 'preparing' } })
      .drain('n1');
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (node n1 is drained)\n+ web.1 r1 ready [move], after web.1',
    );
  });

  it('waits for a place for the successor, but not for ever', () => {
    const world = cluster().service('web').running('web.1').drain('n1');
    world.task('web.1#2', { node: '', pending: 'no suitable node', createdAt: 1_000, replaces: 'web.1' as TaskId });
    expect(decide(world, 30_999)).toBe('wake at 31000');
    expect(decide(world, 31_000)).toBe('~ web.1 running -> shutdown (node n1 is drained; no suitable node)');
  });

  it('retries a successor that fails beside the old task', () => {
    const world = moving().status('web.1#2', { state: 'failed', exitCode: 1, at: 1_000 });
    expect(decide(world, 1_000)).toBe(
      '~ web.1#2 running -> shutdown (exit code 1)\n+ web.1 r1 ready [restart], not before 6000, after web.1',
    );
  });

  it('is emptied though successors keep failing', () => {
    const world = moving().status('web.1#2', { state: 'failed', exitCode: 1 });
    world.edit('task', 'web.1#2', { restarts: { total: 3, recent: [], streak: 3 } });
    expect(decide(world)).toBe('~ web.1 running -> shutdown (node n1 is drained; its successor could not be started)');
  });

  it('lets the successor take over when the old task dies', () => {
    const world = moving().status('web.1', { state: 'failed' });
    expect(decide(world)).toBe('~ web.1 running -> shutdown (its successor takes over)');
  });

  it('finds another place when the successor has to leave its node too', () => {
    expect(decide(moving().drain('n2'))).toBe(
      '~ web.1#2 running -> shutdown (node n2 is drained)\n+ web.1 r1 ready [move], after web.1',
    );
  });

  it('leaves tasks that are due for an update to the updater', () => {
    const world = cluster().service('web').running('web.1').update('web', { image: 'ok:2' }).drain('n1');
    expect(decide(world.rollout('web'))).toBe('');
  });

  it('is emptied on the old revision when the update is paused', () => {
    const world = cluster().service('web').running('web.1').update('web', { image: 'ok:2' }).drain('n1');
    expect(decide(world.rollout('web', { state: 'paused' }))).toBe('+ web.1 r1 running [move], after web.1');
  });

  it('hands the rollout on to the successor of a task that the rollout made', () => {
    const world = cluster()
      .service('web')
      .update('web', { image: 'ok:2' })
      .running('web.1', { rollout: 2 })
      .drain('n1');
    expect(decide(world.rollout('web'))).toBe('+ web.1 r2 running [move], after web.1, rollout 2');
  });
});

describe('a slot that is being updated start-first', () => {
  const swapping = () =>
    cluster()
      .service('web')
      .running('web.1')
      .update('web', { image: 'ok:2', update: { order: 'start-first' } })
      .rollout('web')
      .task('web.1#2', { node: 'n2', origin: 'update', rollout: 2, replaces: 'web.1' as TaskId });

  it('keeps the old task until the new one is running and healthy', () => {
    const world = swapping();
    expect(decide(world)).toBe('');
    expect(decide(world.status('web.1#2', { state: 'running' }))).toBe('~ web.1 running -> shutdown (updated)');
  });

  it('keeps the old task running when the new one fails', () => {
    const world = swapping().status('web.1#2', { state: 'failed', exitCode: 1 });
    expect(decide(world)).toBe(
      '~ web.1#2 running -> shutdown (exit code 1)\n+ web.1 r2 ready [restart], not before 5000, after web.1, rollout 2',
    );
  });

  it('keeps the old task though the new one may not be restarted', () => {
    const world = cluster()
      .service('web')
      .running('web.1')
      .update('web', { image: 'ok:2', restart: { condition: 'none' } })
      .rollout('web', { state: 'paused' })
      .failed('web.1#2', { replaces: 'web.1' as TaskId, rollout: 2 });
    expect(decide(world)).toBe('');
  });

  it('waits for ever for a place, as the old task may stay', () => {
    const world = swapping().task('web.1#2', { node: '', pending: 'no suitable node', replaces: 'web.1' as TaskId });
    expect(decide(world, 99_000)).toBe('');
  });

  it('stops the new task and keeps the old one when it is rolled back', () => {
    const world = swapping().status('web.1#2', { state: 'running' });
    const { previous, ...service } = world.get('service', 'web');
    if (previous === undefined) throw new Error('the service has been updated');
    world
      .put('service', 'web', { ...service, ...previous, rolledBack: true })
      .rollout('web', { state: 'rollback_started' });
    expect(decide(world)).toBe('~ web.1#2 running -> shutdown (rolled back)');
  });
});

describe('a slot that is being updated stop-first', () => {
  const held = { desired: 'ready', origin: 'update', rollout: 2, replaces: 'web.1' as TaskId } as const;
  const preparing = () =>
    cluster()
      .service('web')
      .running('web.1')
      .update('web', { image: 'ok:2' })
      .rollout('web')
      .task('web.1#2', { node: 'n2', ...held, status: { state: 'preparing' } });

  it('keeps the old task until the new one is prepared', () => {
    const world = preparing();
    expect(decide(world)).toBe('');
    expect(decide(world.status('web.1#2', { state: 'ready' }))).toBe('~ web.1 running -> shutdown (updated)');
  });

  it('starts the new task when the old one has ended', () => {
    const world = preparing().status('web.1#2', { state: 'ready' }).edit('task', 'web.1', { desired: 'shutdown' });
    expect(decide(world)).toBe('');
    expect(decide(world.status('web.1', { state: 'shutdown' }))).toBe('~ web.1#2 ready -> running');
  });

  it('is looked at again when the new task is prepared', () => {
    const world = preparing();
    const after = { ...world.get('task-status', 'web.1#2'), state: 'ready' } as const;
    const keys = replicated.keysOf(
      { kind: 'task-status', id: 'web.1#2', before: world.get('task-status', 'web.1#2'), after },
      world.view,
    );
    expect([...keys]).toEqual(['web']);
  });

  it('stops the old task at once when there is no place beside it', () => {
    const world = preparing().task('web.1#2', { node: '', ...held });
    expect(decide(world)).toBe('');
    world.edit('task', 'web.1#2', { pending: 'no suitable node (host-mode port 80/tcp in use on 1 node)' });
    expect(decide(world)).toBe('~ web.1 running -> shutdown (updated)');
  });

  it('does not stop the old task when the new one has got a place meanwhile', () => {
    const world = preparing().task('web.1#2', { node: '', pending: 'no suitable node', ...held });
    const [unit] = replicated.decide(world.view, 'web', at(0)).units;
    world.edit('task', 'web.1#2', { pending: 'something else' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });

  it('keeps the old task running when the new one cannot be prepared, and holds the next one too', () => {
    const world = preparing().status('web.1#2', { state: 'rejected', error: 'no such image', at: 1_000 });
    const retry = '~ web.1#2 ready -> shutdown (no such image)\n+ web.1 r2 ready [restart]';
    expect(decide(world, 1_000)).toBe(`${retry}, not before 6000, after web.1, rollout 2`);
    expect(decide(world, 9_000)).toBe(`${retry}, after web.1, rollout 2`);
  });

  it('does not stop the old task while the new one waits for its next attempt', () => {
    const world = preparing().task('web.1#2', { node: 'n2', ...held, notBefore: 9_000, status: { state: 'ready' } });
    expect(decide(world, 8_000)).toBe('wake at 9000');
    expect(decide(world, 9_000)).toBe('~ web.1 running -> shutdown (updated)');
  });

  it('prepares the new task elsewhere when its node is drained', () => {
    expect(decide(preparing().drain('n2'))).toBe(
      '~ web.1#2 ready -> shutdown (node n2 is drained)\n+ web.1 r2 ready [move], after web.1, rollout 2',
    );
  });

  it('leaves a drained node only when the new task is prepared', () => {
    const world = preparing().drain('n1');
    expect(decide(world)).toBe('');
    expect(decide(world.status('web.1#2', { state: 'ready' }))).toBe('~ web.1 running -> shutdown (updated)');
  });

  it('lets the new task take over when the old one dies', () => {
    const world = preparing().status('web.1', { state: 'failed' });
    expect(decide(world)).toBe('~ web.1 running -> shutdown (its successor takes over)');
  });

  it('goes by the order of the rollout that goes on, also when a rollback has come back to it', () => {
    const world = preparing().edit('service', 'web', { rolledBack: true });
    const { spec } = world.get('service', 'web');
    world.edit('service', 'web', { spec: { ...spec, rollback: { ...spec.rollback, order: 'start-first' } } });
    expect(decide(world)).toBe('');
    expect(decide(world.rollout('web', { state: 'rollback_started' }))).toBe('~ web.1#2 ready -> running');
  });

  it('drops the new task when it is rolled back, whether the old one serves or not', () => {
    const world = preparing().status('web.1', { healthy: false });
    const { previous, ...service } = world.get('service', 'web');
    if (previous === undefined) throw new Error('the service has been updated');
    world
      .put('service', 'web', { ...service, ...previous, rolledBack: true })
      .rollout('web', { state: 'rollback_started' });
    expect(decide(world)).toBe('~ web.1#2 ready -> shutdown (rolled back)');
  });
});

describe('a misplaced task of a paused update', () => {
  it('leaves though its successor has no place, as both are the same', () => {
    const world = cluster().service('web').running('web.1').update('web', { image: 'ok:2' });
    world.rollout('web', { state: 'paused' });
    world.task('web.1#2', { node: '', revision: 1, pending: 'no suitable node', replaces: 'web.1' as TaskId });
    expect(decide(world, 30_000)).toBe('~ web.1 running -> shutdown (moved to another node; no suitable node)');
  });
});
