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

  it('is, with an affinity, the same as before while it has room, and not the same for all', () => {
    const { view } = cluster(5).store;
    const chosen = (affinity: string) => nodeTarget(view, '', affinity).nodeId;
    const folders = Array.from({ length: 40 }, (_, at) => `folder ${at}`);
    expect(new Set(folders.map(chosen)).size).toBe(5);
    expect(folders.map(chosen)).toEqual(folders.map(chosen));
    const fewer = cluster(4).store.view;
    // One node less moves what it had and nothing else.
    for (const folder of folders)
      if (chosen(folder) !== 'n5') expect(nodeTarget(fewer, '', folder).nodeId).toBe(chosen(folder));
  });

  it('is, with an affinity, another where the usual one has much less room', () => {
    const { view } = cluster(2).store;
    const usual = nodeTarget(view, '', 'folder').nodeId;
    const memoryBytes = Math.ceil((view.get('node-status', usual)?.value.description.memoryBytes ?? 0) * 0.6);
    const world = cluster(2)
      .service('web', { replicas: 1, reservations: { memoryBytes } })
      .task('web.1', { node: usual, status: { state: 'running' } });
    expect(nodeTarget(world.store.view, '', 'folder').nodeId).not.toBe(usual);
  });

  it('is none while no node is ready and active', () => {
    expect(() => nodeTarget(cluster(0).store.view, '')).toThrow('no node is ready and active');
  });
});
