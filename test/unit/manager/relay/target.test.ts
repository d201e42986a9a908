import { describe, expect, it } from 'vitest';
import { nodeTarget } from '../../../../manager/relay/target.ts';
import { cluster } from '../../../support/cluster-builder.ts';

describe('the node of a call', () => {
  it('is the one that is named', () => {
    const { view } = cluster(3).store;
    expect(nodeTarget(view, 'n2')).toMatchObject({ nodeId: 'n2' });
    expect(() => nodeTarget(view, 'n9')).toThrow('node "n9" is not in the cluster');
  });

  it('is, without a name, the ready one with the most memory that no task has reserved', () => {
    const reservations = { memoryBytes: 1_000_000 };
    const world = cluster(3)
      .service('web', { replicas: 2, reservations })
      .task('web.1', { node: 'n1', status: { state: 'running' } })
      .task('web.2', { node: 'n3', status: { state: 'running' } });
    expect(nodeTarget(world.store.view, '')).toMatchObject({ nodeId: 'n2' });
  });

  it('is none while no node is ready and active', () => {
    expect(() => nodeTarget(cluster(0).store.view, '')).toThrow('no node is ready and active');
  });
});
