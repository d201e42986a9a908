import { describe, expect, it } from 'vitest';
import type { TaskId } from '../../../../common/model/ids.ts';
import { replicated } from '../../../../manager/orchestrator/replicated.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder, now = 0): string =>
  render(world.view, replicated.decide(world.view, 'web', at(now)));

describe('scaling', () => {
  it('creates the missing slots of a new service', () => {
    const world = cluster().service('web', { replicas: 3 });
    expect(decide(world)).toBe('+ web.1 r1 running [create]\n+ web.2 r1 running [create]\n+ web.3 r1 running [create]');
  });

  it('makes an empty plan for a converged service', () => {
    const world = cluster().service('web', { replicas: 2 }).running('web.1').running('web.2', { node: 'n2' });
    expect(replicated.decide(world.view, 'web', at(99_000))).toEqual({ units: [] });
  });

  it('fills the lowest free slot numbers', () => {
    const world = cluster().service('web', { replicas: 4 }).running('web.2').running('web.4');
    expect(decide(world)).toBe('+ web.1 r1 running [create]\n+ web.3 r1 running [create]');
  });

  it('does not take a slot number in which a task is still stopping', () => {
    const world = cluster().service('web', { replicas: 1 }).running('web.1', { desired: 'remove' });
    expect(decide(world)).toBe('+ web.2 r1 running [create]');
  });

  it('takes a slot number again once its last task has stopped', () => {
    const world = cluster()
      .service('web', { replicas: 1 })
      .task('web.1', { desired: 'remove', status: { state: 'shutdown' } });
    expect(decide(world)).toBe('+ web.1 r1 running [create]');
  });

  it('creates new slots on the newest revision while an update is going on', () => {
    const world = cluster().service('web', { replicas: 1 }).running('web.1').update('web', { image: 'ok:2' });
    expect(decide(world.rollout('web').scale('web', 2))).toBe('+ web.2 r2 running [create]');
  });

  it('takes copies from the nodes with most of them when scaling down', () => {
    const world = cluster().service('web', { replicas: 3 });
    for (const [slot, node] of [
      [1, 'n1'],
      [2, 'n1'],
      [3, 'n1'],
      [4, 'n2'],
      [5, 'n2'],
      [6, 'n3'],
    ] as const) {
      world.running(`web.${slot}`, { node });
    }
    expect(decide(world)).toBe(
      ['3', '5', '2'].map((slot) => `~ web.${slot} running -> remove (scaled down)`).join('\n'),
    );
  });

  it('removes first what has no node, what is dead and what is in the middle of a swap', () => {
    const world = cluster()
      .service('web', { replicas: 1, restart: { condition: 'none' } })
      .running('web.1')
      .failed('web.2')
      .task('web.3', { node: '' })
      .running('web.4', { node: 'n3' })
      .task('web.4#2', { node: 'n2', replaces: 'web.4' as TaskId });
    expect(decide(world)).toBe(
      [
        '~ web.3 running -> remove (scaled down)',
        '~ web.2 running -> remove (scaled down)',
        '~ web.4 running -> remove (scaled down)',
        '~ web.4#2 running -> remove (scaled down)',
      ].join('\n'),
    );
  });

  it('prefers running tasks over starting ones on the same node', () => {
    const world = cluster()
      .service('web', { replicas: 1 })
      .task('web.1', { status: { state: 'starting' } });
    expect(decide(world.running('web.2'))).toBe('~ web.1 running -> remove (scaled down)');
  });

  it('removes everything, history included, when scaled to nothing', () => {
    const world = cluster().service('web', { replicas: 0 }).failed('web.1', { desired: 'shutdown' });
    expect(decide(world.running('web.1#2'))).toBe(
      '~ web.1 shutdown -> remove (scaled down)\n~ web.1#2 running -> remove (scaled down)',
    );
  });

  it('does not rebalance when a node comes', () => {
    const world = cluster(1).service('web', { replicas: 2 }).running('web.1').running('web.2').node('n2');
    expect(decide(world)).toBe('');
  });

  it('plans thousands of new tasks in small units', () => {
    const plan = replicated.decide(cluster().service('web', { replicas: 10_000 }).view, 'web', at(0));
    expect(plan.units.flat().filter((write) => write.op === 'put')).toHaveLength(2_000);
    expect(Math.max(...plan.units.map((unit) => unit.length))).toBeLessThanOrEqual(32);
  });

  it('binds every creation to the service as it was seen', () => {
    const world = cluster().service('web', { replicas: 1 });
    const [unit] = replicated.decide(world.view, 'web', at(0)).units;
    world.scale('web', 0);
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });
});

describe('a removed service', () => {
  it('has all its tasks removed and its rollout deleted', () => {
    const world = cluster().service('web').running('web.1').running('web.2', { desired: 'shutdown' }).rollout('web');
    expect(decide(world.delete('service', 'web'))).toBe(
      [
        '~ web.1 running -> remove (service removed)',
        '~ web.2 shutdown -> remove (service removed)',
        '- rollout web',
      ].join('\n'),
    );
  });

  it('needs nothing more once its tasks are to be removed', () => {
    const world = cluster().service('web').running('web.1', { desired: 'remove' }).delete('service', 'web');
    expect(decide(world)).toBe('');
  });
});

describe('what concerns a service', () => {
  const keysOf = (change: unknown, world: ClusterBuilder) => [...replicated.keysOf(change as never, world.view)];

  it('is a status that reaches running or an end, and none in between', () => {
    const world = cluster().service('web').task('web.1');
    const change = (state: string) => ({ kind: 'task-status', id: 'web.1', before: undefined, after: { state } });
    expect(keysOf(change('preparing'), world)).toEqual([]);
    expect(keysOf(change('running'), world)).toEqual(['web']);
    expect(keysOf(change('rejected'), world)).toEqual(['web']);
  });

  it('is a change of a node with tasks of it', () => {
    const world = cluster().service('web', { replicas: 2 }).running('web.1').running('web.2').service('db');
    expect(keysOf({ kind: 'node-status', id: 'n1' }, world)).toEqual(['web']);
    expect(keysOf({ kind: 'node', id: 'n2' }, world)).toEqual([]);
  });

  it('is everything when a reign begins, removed services with tasks included', () => {
    const world = cluster().service('web').service('db').running('gone.1');
    expect([...replicated.allKeys(world.view)].sort()).toEqual(['db', 'gone', 'web']);
  });
});
