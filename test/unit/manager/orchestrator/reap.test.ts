import { describe, expect, it } from 'vitest';
import { reap } from '../../../../manager/orchestrator/reap.ts';
import { revisions } from '../../../../manager/orchestrator/revisions.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder): string => render(world.view, reap.decide(world.view, 'web', at(0)));

/** A slot that has failed `count` times before its running task. */
function withHistory(world: ClusterBuilder, count: number): ClusterBuilder {
  for (let number = 1; number <= count; number += 1) {
    world.failed(`web.1#${number}`, { desired: 'shutdown', at: number * 1_000 });
  }
  return world.running('web.1', { createdAt: 99_000 });
}

describe('the history', () => {
  it('keeps five finished tasks a slot and deletes the oldest beyond', () => {
    expect(decide(withHistory(cluster().service('web'), 5))).toBe('');
    expect(decide(withHistory(cluster().service('web'), 7))).toBe(
      '- web.1#2\n- task-status web.1#2\n- web.1#1\n- task-status web.1#1',
    );
  });

  it('is counted for each slot by itself', () => {
    const world = withHistory(cluster().service('web'), 5);
    for (let number = 1; number <= 5; number += 1) world.failed(`web.2#${number}`, { desired: 'shutdown' });
    expect(decide(world)).toBe('');
  });

  it('is empty when the cluster keeps none, and whole when it keeps all', () => {
    expect(decide(withHistory(cluster(3, { taskHistory: 0 }).service('web'), 2)).match(/- web/g)).toHaveLength(2);
    expect(decide(withHistory(cluster(3, { taskHistory: -1 }).service('web'), 40))).toBe('');
  });

  it('keeps every attempt when attempts are limited', () => {
    const world = cluster(3, { taskHistory: 0 }).service('web', { restart: { maxAttempts: 2 } });
    expect(decide(withHistory(world, 3))).toBe('');
    expect(decide(withHistory(world, 4))).toBe('- web.1#1\n- task-status web.1#1');
  });

  it('counts a dead task that its slot rests on, but never deletes it', () => {
    const world = cluster(3, { taskHistory: 1 }).service('web', { restart: { condition: 'none' } });
    world.failed('web.1#1', { desired: 'shutdown' }).failed('web.1#2');
    expect(decide(world)).toBe('- web.1#1\n- task-status web.1#1');
  });

  it('keeps a task whose end a going rollout has yet to see', () => {
    const world = cluster(3, { taskHistory: 0 }).service('web').running('web.2');
    world.failed('web.1', { desired: 'shutdown', rollout: 1 }).rollout('web');
    expect(decide(world)).toBe('');
    world.rollout('web', { failed: [{ slot: 1, taskId: 'web.1' as never }] });
    expect(decide(world)).toBe('- web.1\n- task-status web.1');
    expect(decide(world.rollout('web', { state: 'completed' }))).toBe('- web.1\n- task-status web.1');
  });
});

describe('tasks to be removed', () => {
  it('are deleted with their status once they have stopped', () => {
    const world = cluster().service('web').running('web.1', { desired: 'remove' });
    expect(decide(world)).toBe('');
    expect(decide(world.status('web.1', { state: 'shutdown' }))).toBe('- web.1\n- task-status web.1');
  });

  it('are deleted at once when they never had a node', () => {
    expect(decide(cluster().service('web').task('web.1', { desired: 'remove', node: '' }))).toBe('- web.1');
  });

  it('are deleted when their node has been removed or lost', () => {
    const world = cluster().running('web.1', { desired: 'remove' }).running('web.2', { desired: 'remove', node: 'n2' });
    expect(decide(world.delete('node', 'n1').silent('n2', 0, 'lost'))).toBe(
      '- web.1\n- task-status web.1\n- web.2\n- task-status web.2',
    );
  });

  it('stay while their node is only silent', () => {
    expect(decide(cluster().running('web.1', { desired: 'remove' }).silent('n1', 0, 'unreachable'))).toBe('');
  });
});

describe('a replaced task without a node', () => {
  it('is deleted at once, as it never ran', () => {
    expect(decide(cluster().service('web').task('web.1', { desired: 'shutdown', node: '' }))).toBe('- web.1');
  });
});

describe('a deletion', () => {
  it('fails when a status has come meanwhile', () => {
    const world = cluster().service('web').task('web.1', { desired: 'remove' }).delete('node', 'n1');
    const [unit] = reap.decide(world.view, 'web', at(0)).units;
    world.status('web.1', { state: 'running' });
    expect(world.store.commitNow([unit ?? []])).toEqual([{ kind: 'conflict' }]);
  });
});

describe('a revision', () => {
  const kept = (world: ClusterBuilder, key: string): boolean =>
    revisions.decide(world.view, key, at(0)).units.length === 0;

  it('stays while its service names it as the one in force or the one before', () => {
    const world = cluster().service('web').update('web', { image: 'ok:2' }).update('web', { image: 'ok:3' });
    expect(['web.1', 'web.2', 'web.3'].map((key) => kept(world, key))).toEqual([false, true, true]);
  });

  it('stays while a task was made from it', () => {
    const world = cluster()
      .service('web')
      .running('web.1')
      .update('web', { image: 'ok:2' })
      .update('web', { image: 'ok:3' });
    expect(kept(world, 'web.1')).toBe(true);
  });

  it('goes with the last task of a removed service', () => {
    const world = cluster().service('web').running('web.1').delete('service', 'web');
    expect(kept(world, 'web.1')).toBe(true);
    expect(kept(world.delete('task', 'web.1'), 'web.1')).toBe(false);
  });

  it('is looked at again when a task of it is deleted or its service changes', () => {
    const world = cluster().service('web').task('web.1').update('web', { image: 'ok:2' });
    const keysOf = (change: unknown) => [...revisions.keysOf(change as never, world.view)];
    expect(keysOf({ kind: 'task', id: 'web.1', before: world.get('task', 'web.1'), after: undefined })).toEqual([
      'web.1',
    ]);
    expect(keysOf({ kind: 'service', id: 'web', before: world.get('service', 'web') })).toEqual(['web.2', 'web.1']);
  });
});
