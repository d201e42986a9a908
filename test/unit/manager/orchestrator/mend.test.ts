import { describe, expect, it } from 'vitest';
import type { TaskId } from '../../../../common/model/ids.ts';
import { replicated } from '../../../../manager/orchestrator/replicated.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder, now = 0): string =>
  render(world.view, replicated.decide(world.view, 'web', at(now)));

describe('restarting', () => {
  it('replaces a failed task in its slot after the restart delay', () => {
    const world = cluster()
      .service('web')
      .failed('web.1', { at: 10_000, since: 0, status: { exitCode: 137 } });
    expect(decide(world, 10_020)).toBe(
      '~ web.1 running -> shutdown (exit code 137)\n+ web.1 r1 ready [restart], not before 15000, after web.1',
    );
  });

  it('starts the successor at once when there is no delay', () => {
    const world = cluster()
      .service('web', { restart: { delayMs: 0 } })
      .failed('web.1', { at: 10_000 });
    expect(decide(world, 10_000)).toBe(
      '~ web.1 running -> shutdown (exit code 1)\n+ web.1 r1 running [restart], after web.1',
    );
  });

  it('leaves a task that ended in its slot when the condition is none', () => {
    const world = cluster()
      .service('web', { restart: { condition: 'none' } })
      .failed('web.1');
    expect(decide(world)).toBe('');
  });

  it('restarts a task that was rejected before it ran', () => {
    const world = cluster()
      .service('web')
      .task('web.1', { status: { state: 'rejected', error: 'no image x:1' } });
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (no image x:1)\n+ web.1 r1 ready [restart], not before 5000, after web.1',
    );
  });

  it('does not count a task that its host stopped as a failure', () => {
    const world = cluster().service('web').running('web.1').status('web.1', { state: 'shutdown', at: 1_000 });
    const plan = replicated.decide(world.view, 'web', at(1_000));
    expect(render(world.view, plan)).toContain('+ web.1 r1 ready [restart], not before 6000, after web.1');
    expect(
      plan.units.flat().some((write) => write.op === 'put' && write.kind === 'task' && write.value.restarts.total > 0),
    ).toBe(false);
  });

  it('restarts an untouched slot on its own revision while an update is paused', () => {
    const world = cluster().service('web').running('web.1').update('web', { image: 'crash@2' });
    world.rollout('web', { state: 'paused' }).status('web.1', { state: 'failed', exitCode: 1 });
    expect(decide(world)).toContain('+ web.1 r1 ready [restart]');
  });

  it('restarts a clean task of an equal older revision on the newest one', () => {
    const world = cluster().service('web').failed('web.1').update('web', {});
    expect(decide(world)).toContain('+ web.1 r2 ready [restart]');
  });
});

describe('releasing', () => {
  const held = { desired: 'ready', node: 'n2', notBefore: 5_000, replaces: 'web.1' as TaskId } as const;

  it('holds a task until its time has come', () => {
    const world = cluster().service('web').failed('web.1', { desired: 'shutdown' }).task('web.1#2', held);
    expect(decide(world, 4_999)).toBe('wake at 5000');
    expect(decide(world, 5_000)).toBe('~ web.1#2 ready -> running');
  });

  it('holds a task for as long as the one before it runs, also after a minute', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' }).task('web.1#2', held);
    expect(decide(world, 90_000)).toBe('');
    world.status('web.1', { state: 'shutdown', at: 90_000 });
    expect(decide(world, 90_000)).toBe('~ web.1#2 ready -> running');
  });

  it('waits for every task of the slot that was told to stop, not only for the last', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' });
    world
      .failed('web.1#2', { desired: 'shutdown', node: 'n3' })
      .task('web.1#3', { ...held, replaces: 'web.1#2' as TaskId });
    expect(decide(world, 5_000)).toBe('');
  });

  it('does not wait for a task on a node that was removed', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' }).task('web.1#2', held);
    expect(decide(world.delete('node', 'n1'), 5_000)).toBe('~ web.1#2 ready -> running');
  });

  it('waits for a task on a silent node no longer than for the node', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' }).task('web.1#2', held);
    world.silent('n1', 1_000);
    expect(decide(world, 5_000)).toBe('wake at 16000');
    expect(decide(world, 16_000)).toBe('~ web.1#2 ready -> running');
  });

  it('drops the release when the silent node has come back meanwhile', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' }).task('web.1#2', held);
    const [unit] = replicated.decide(world.silent('n1', 0).view, 'web', at(15_000)).units;
    world.edit('node-status', 'n1', { state: 'ready' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });
});

describe('a silent node', () => {
  it('keeps its tasks until the cluster has waited long enough', () => {
    const world = cluster().service('web').running('web.1').silent('n1', 2_000);
    expect(decide(world, 16_999)).toBe('wake at 17000');
    expect(decide(world, 17_000)).toBe(
      '~ web.1 running -> shutdown (node n1 is unreachable)\n+ web.1 r1 running [move], after web.1',
    );
  });

  it('is waited for as long as the service says', () => {
    const world = cluster().service('web', { failoverAfterMs: 60_000 }).running('web.1');
    expect(decide(world.silent('n1', 0, 'unreachable'), 15_000)).toBe('wake at 60000');
  });

  it('gets the silence window of a new leader before its tasks move', () => {
    const world = cluster().service('web').running('web.1').silent('n1', 0);
    world.put('leader', 'default', { managerId: 'm' as never, address: '', since: 100_000 });
    expect(decide(world, 100_000)).toBe('wake at 110000');
  });

  it('keeps a task that had been told to wait waiting', () => {
    const world = cluster().service('web').failed('web.1', { desired: 'shutdown', node: 'n2' });
    world.task('web.1#2', { desired: 'ready', notBefore: 50_000 }).silent('n1', 0);
    expect(decide(world, 15_000)).toContain('+ web.1 r1 ready [move], not before 50000');
  });

  it('loses no task that had ended for good', () => {
    const world = cluster().service('web', { restart: { condition: 'on-failure' } });
    world.task('web.1', { status: { state: 'complete', exitCode: 0 } }).silent('n1', 0, 'lost');
    expect(decide(world, 99_000)).toBe('');
  });

  it('has its tasks replaced at once when it is removed', () => {
    const world = cluster().service('web').running('web.1').delete('node', 'n1');
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (node n1 was removed)\n+ web.1 r1 running [move], after web.1',
    );
  });

  it('moves nothing back when it returns', () => {
    const world = cluster().service('web').running('web.1', { desired: 'shutdown' }).running('web.1#2', { node: 'n2' });
    expect(decide(world, 20_000)).toBe('');
  });
});

describe('a paused node', () => {
  it('keeps its tasks', () => {
    const world = cluster().service('web').running('web.1').edit('node', 'n1', { availability: 'pause' });
    expect(decide(world)).toBe('');
  });

  it('has a task that failed there replaced by the policy', () => {
    const world = cluster().service('web').failed('web.1').edit('node', 'n1', { availability: 'pause' });
    expect(decide(world)).toContain('+ web.1 r1 ready [restart]');
  });
});
