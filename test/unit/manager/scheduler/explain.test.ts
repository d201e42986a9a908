import { describe, expect, it } from 'vitest';
import type { Task } from '../../../../common/model/task.ts';
import { explainTask } from '../../../../manager/scheduler/explain.ts';
import { CPU } from '../../../support/fixtures.ts';
import { World } from './world.ts';

function reasons(world: World, name: string): readonly string[] {
  const task = world.view.get('task', name)?.value as Task;
  return explainTask(world.view, task, 0).map(({ node, reason }) => `${node}: ${reason}`);
}

describe('the explanation of a task that waits', () => {
  it('names each node and its first reason, by host name', () => {
    const world = new World()
      .node('n1', { description: { hostname: 'zeta', nanoCpus: CPU } })
      .node('n2', { description: { hostname: 'alpha' }, node: { availability: 'drain' } })
      .node('n3', { description: { hostname: 'beta' }, status: { state: 'suspect', message: 'session closed' } })
      .node('n4', { description: { hostname: 'gamma', arch: 'riscv64' } })
      .service('web', {
        reservations: { nanoCpus: 2.5 * CPU, memoryBytes: 0 },
        placement: { constraints: ['node.hostname!=gamma'], maxReplicasPerNode: 0 },
      })
      .task('web.1');
    expect(reasons(world, 'web.1')).toEqual([
      'alpha: node is drained',
      'beta: node is not ready (suspect): session closed',
      'gamma: constraint node.hostname!=gamma is not met',
      'zeta: insufficient cpu: 2.5 cpu wanted, 1 cpu not reserved',
    ]);
  });

  it('is empty when some node would take it', () => {
    const world = new World()
      .nodes('n1')
      .node('n2', { node: { availability: 'pause' } })
      .service('web')
      .task('web.1');
    expect(reasons(world, 'web.1')).toEqual([]);
  });

  it('says that the pool of addresses is used up', () => {
    const world = new World()
      .node('n1', { node: { block: '10.64.0.0/24' } })
      .service('web')
      .task('web.1');
    world.store.put('cluster', 'default', {
      ...world.got('cluster', 'default'),
      addressPool: '10.64.0.0/24',
    });
    world.store.put('node', 'n1', { ...world.got('node', 'n1'), availability: 'drain' });
    const { block: _block, ...bare } = world.got('node', 'n1');
    world.store.put('node', 'n2', { ...bare, id: 'n2' as never, availability: 'active' });
    world.store.put('node-status', 'n2', { ...world.got('node-status', 'n1'), nodeId: 'n2' as never });
    expect(reasons(world, 'web.1')).toContain('n1: node has no address block: pool 10.64.0.0/24 is used up');
  });
});
