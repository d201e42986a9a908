import { describe, expect, it } from 'vitest';
import { enforce } from '../../../../manager/orchestrator/enforce.ts';
import { at, type ClusterBuilder, cluster, render } from '../../../support/cluster-builder.ts';

const decide = (world: ClusterBuilder): string => render(world.view, enforce.decide(world.view, 'n1', at(0)));

const zoned = () =>
  cluster()
    .edit('node', 'n1', { labels: { zone: 'a' } })
    .service('web', { constraints: ['node.labels.zone==a'] });

describe('constraints', () => {
  it('leave tasks alone where they hold', () => {
    expect(decide(zoned().running('web.1'))).toBe('');
  });

  it('have a serving task succeeded elsewhere before it is stopped', () => {
    const world = zoned()
      .running('web.1')
      .edit('node', 'n1', { labels: { zone: 'b' } });
    expect(decide(world)).toBe('+ web.1 r1 running [move], after web.1');
    world.task('web.1#2', { node: 'n2', replaces: 'web.1' as never });
    expect(decide(world)).toBe('');
  });

  it('have a task that does not serve yet moved at once', () => {
    const world = zoned().task('web.1').edit('node', 'n1', { labels: {} });
    expect(decide(world)).toBe(
      '~ web.1 running -> shutdown (node n1 no longer satisfies node.labels.zone==a)\n+ web.1 r1 ready [move], after web.1',
    );
  });

  it('are not enforced on nodes that are drained, paused or silent', () => {
    const world = zoned().running('web.1').edit('node', 'n1', { labels: {}, availability: 'pause' });
    expect(decide(world)).toBe('');
    expect(decide(world.edit('node', 'n1', { availability: 'active' }).silent('n1', 0))).toBe('');
  });

  it('of a going update are left to the updater', () => {
    const world = zoned()
      .running('web.1')
      .update('web', { constraints: ['node.labels.zone==b'] })
      .rollout('web');
    expect(decide(world)).toBe('');
  });

  it('that an update changed are enforced once it is over', () => {
    const world = zoned().running('web.1').update('web', {}).rollout('web', { state: 'completed', completedAt: 0 });
    expect(decide(world)).toBe('');
    world
      .update('web', { constraints: ['node.labels.zone!=c'] })
      .rollout('web', { state: 'completed', completedAt: 0 });
    expect(decide(world.edit('node', 'n1', { labels: { zone: 'c' } }))).toContain('+ web.1');
  });
});

describe('reservations', () => {
  it('that no longer fit the host move the newest tasks', () => {
    const world = cluster().service('web', { replicas: 3, reservations: { memoryBytes: 2 ** 30 } });
    for (const slot of [1, 2, 3]) world.running(`web.${slot}`, { createdAt: slot });
    expect(decide(world)).toBe('');
    const { description } = world.get('node-status', 'n1');
    world.edit('node-status', 'n1', { description: { ...description, memoryBytes: 2.5 * 2 ** 30 } });
    expect(decide(world)).toBe('+ web.3 r1 running [move], after web.3');
  });
});

describe('what concerns a node', () => {
  it('is a change of it, and the end of an update of a service on it', () => {
    const world = zoned().running('web.1').running('web.2', { node: 'n2' });
    expect([...enforce.keysOf({ kind: 'rollout', id: 'web' } as never, world.view)]).toEqual(['n1', 'n2']);
    expect([...enforce.keysOf({ kind: 'node', id: 'n1' } as never, world.view)]).toEqual(['n1']);
  });
});
