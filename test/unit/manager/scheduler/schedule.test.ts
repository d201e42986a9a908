import { describe, expect, it } from 'vitest';
import { schedule, UNITS_A_PLAN_MAX } from '../../../../manager/scheduler/schedule.ts';
import { CPU, GIB, MIB } from '../../../support/fixtures.ts';
import { perNode, render, World } from './world.ts';

const MEMORY_5G = { reservations: { nanoCpus: 0, memoryBytes: 5 * GIB } };
const HOST_8080 = { ports: [{ protocol: 'tcp', target: 80, published: 8080, mode: 'host' }] } as const;

describe('the scheduler', () => {
  it('spreads the tasks of a service and gives each an address of its node', () => {
    const world = new World().nodes('n1', 'n2', 'n3').service('web').tasks('web', 4);
    expect(world.run()).toEqual([
      'web.1 -> n1 10.64.0.2',
      'web.2 -> n2 10.64.1.2',
      'web.3 -> n3 10.64.2.2',
      'web.4 -> n1 10.64.0.3',
    ]);
  });

  it('plans nothing when no task waits', () => {
    const world = new World().nodes('n1').service('web').tasks('web', 1);
    world.run();
    expect(world.run()).toEqual([]);
  });

  it('binds only while task, node and node status are as it saw them', () => {
    const world = new World().nodes('n1').service('web').tasks('web', 1);
    const plan = world.plan();
    world.store.put('node-status', 'n1', { ...world.got('node-status', 'n1'), state: 'suspect' });
    expect(world.store.commitNow(plan.units)).toEqual([{ kind: 'conflict' }]);
  });

  it('binds held tasks too, after released ones', () => {
    const world = new World().nodes('n1').service('web');
    world.task('web.1', { desired: 'ready' }).task('web.2');
    expect(world.run()).toEqual(['web.2 -> n1 10.64.0.2', 'web.1 -> n1 10.64.0.3']);
  });

  it('leaves tasks alone that are not wanted or have a node', () => {
    const world = new World().nodes('n1').service('web');
    world.task('web.1', { desired: 'shutdown' }).on('n1', 'web.2', 'failed');
    expect(world.run()).toEqual([]);
  });

  it('evens out what is there already', () => {
    const world = new World().nodes('n1', 'n2', 'n3').service('web');
    world.on('n1', 'web.1').on('n1', 'web.2').on('n2', 'web.3');
    for (const slot of [4, 5, 6, 7, 8, 9]) world.task(`web.${slot}`);
    expect(perNode(world.run())).toEqual({ n1: 1, n2: 2, n3: 3 });
  });

  it('does not count the older task of a slot that is started first', () => {
    const world = new World().nodes('n1', 'n2', 'n3').service('web');
    world.on('n1', 'web.1').on('n2', 'web.2').on('n3', 'web.3').task('web.2b', { createdAt: 5 });
    expect(perNode(world.run())).toEqual({ n2: 1 });
  });

  it('prefers the node with the smaller reserved share, then with fewer tasks', () => {
    const world = new World().nodes('n1', 'n2', 'n3').service('db', MEMORY_5G).service('web');
    world.on('n1', 'db.1').on('n2', 'log.1').task('web.1');
    expect(perNode(world.run())).toEqual({ n3: 1 });
    expect(perNode(world.service('api').task('api.1').task('api.2').run())).toEqual({ n2: 1, n3: 1 });
  });

  it('puts a node behind on which this revision failed five times in five minutes', () => {
    const world = new World().nodes('n1', 'n2').service('web').on('n2', 'web.2').on('n2', 'web.3');
    for (const letter of 'abcde') {
      world.on('n1', `web.1${letter}`, 'failed', { desired: 'shutdown', appliedAt: 1_000 });
    }
    world.task('web.1z');
    expect(perNode(render(world.plan(2_000)))).toEqual({ n2: 1 });
    expect(perNode(render(world.plan(301_000)))).toEqual({ n1: 1 });
  });

  it('does not mind four failures', () => {
    const world = new World().nodes('n1', 'n2').service('web').on('n2', 'web.2');
    for (const letter of 'abcd') {
      world.on('n1', `web.1${letter}`, 'failed', { desired: 'shutdown', appliedAt: 1_000 });
    }
    expect(perNode(world.task('web.1z').run(2_000))).toEqual({ n1: 1 });
  });

  it('counts the reservation of a task that is stopping until it has ended', () => {
    const world = new World().node('n1').service('web', MEMORY_5G);
    world.on('n1', 'web.1', 'running', { desired: 'shutdown' }).task('web.1b', { desired: 'ready' });
    expect(world.run()).toEqual(['web.1b pending: no suitable node (insufficient memory on 1 node)']);
    world.on('n1', 'web.1', 'shutdown', { desired: 'shutdown' });
    expect(world.run()).toEqual(['web.1b -> n1 10.64.0.2']);
  });

  it('never sells a node twice within one plan', () => {
    const world = new World().nodes('n1', 'n2').service('web', MEMORY_5G).tasks('web', 3);
    expect(world.run()).toEqual([
      'web.1 -> n1 10.64.0.2',
      'web.2 -> n2 10.64.1.2',
      'web.3 pending: no suitable node (insufficient memory on 2 nodes)',
    ]);
  });

  it('counts cpus and memory apart', () => {
    const world = new World()
      .node('n1', { description: { nanoCpus: CPU } })
      .node('n2', { description: { memoryBytes: 100 * MIB } })
      .service('web', { reservations: { nanoCpus: 2 * CPU, memoryBytes: 200 * MIB } })
      .tasks('web', 1);
    expect(world.run()).toEqual([
      'web.1 pending: no suitable node (insufficient cpu on 1 node; insufficient memory on 1 node)',
    ]);
  });

  it('writes a reason once and again only when it changes', () => {
    const world = new World()
      .node('n1', { node: { availability: 'drain' } })
      .service('web')
      .tasks('web', 1);
    expect(world.run()).toEqual(['web.1 pending: no suitable node (drained: 1 node)']);
    expect(world.run()).toEqual([]);
    world.node('n2', { node: { availability: 'pause' } });
    expect(world.run()).toEqual(['web.1 pending: no suitable node (drained: 1 node; paused: 1 node)']);
  });

  it('forgets the reason when it binds', () => {
    const world = new World().service('web').tasks('web', 1);
    expect(world.run()).toEqual(['web.1 pending: no suitable node (the cluster has no nodes)']);
    world.nodes('n1').run();
    expect(world.view.get('task', 'web.1')?.value).not.toHaveProperty('pending');
  });

  it('passes over nodes that are silent, unfit or without an address block', () => {
    const world = new World()
      .node('n1', { status: { state: 'suspect' } })
      .node('n2', { status: { state: 'lost' } })
      .node('n3', { status: { unfit: 'disk is read-only' } })
      .service('web')
      .tasks('web', 1);
    const { block: _block, ...bare } = world.got('node', 'n1');
    world.store.put('node', 'n4', { ...bare, id: 'n4' as never });
    world.store.put('node-status', 'n4', {
      ...world.got('node-status', 'n1'),
      nodeId: 'n4' as never,
      state: 'ready',
    });
    expect(world.run()).toEqual([
      'web.1 pending: no suitable node (not ready: 2 nodes; unfit: 1 node; without address block: 1 node)',
    ]);
  });

  it('keeps to constraints', () => {
    const world = new World()
      .node('n1', { node: { labels: { zone: 'north' } } })
      .node('n2', { node: { labels: { zone: 'south' } } })
      .service('web', { placement: { constraints: ['node.labels.zone==South'], maxReplicasPerNode: 0 } })
      .tasks('web', 2);
    expect(perNode(world.run())).toEqual({ n2: 2 });
  });

  it('keeps to the platform of the image', () => {
    const world = new World()
      .node('n1', { description: { arch: 'x86_64' } })
      .node('n2', { description: { arch: 'aarch64' } })
      .service('web')
      .tasks('web', 2);
    world.store.put('image', 'web:1', {
      reference: 'web:1',
      digest: '' as never,
      size: 0,
      blobs: [],
      loadedAt: 0,
      os: 'linux',
      arch: 'arm64',
    });
    expect(perNode(world.run())).toEqual({ n2: 2 });
  });

  it('gives a host-mode port to one task a node, whatever service it is of', () => {
    const world = new World().nodes('n1', 'n2', 'n3').service('web', {}, HOST_8080).service('api', {}, HOST_8080);
    world.on('n1', 'api.1').tasks('web', 3);
    expect(world.run()).toEqual([
      'web.1 -> n2 10.64.1.2',
      'web.2 -> n3 10.64.2.2',
      'web.3 pending: no suitable node (host-mode port 8080/tcp in use on 3 nodes)',
    ]);
  });

  it('gives no host-mode port where a container without a service has it', () => {
    const world = new World().nodes('n1', 'n2').service('web', {}, HOST_8080).tasks('web', 2);
    const ports = [{ protocol: 'tcp', published: 8080, target: 80, mode: 'host' }] as const;
    const claim = { id: 'c', name: 'box', nodeId: 'n1' as never, imageDigest: '' as never, createdAt: 0, isMade: true };
    world.store.put('container', 'c', { ...claim, ports });
    expect(world.run()).toEqual([
      'web.1 -> n2 10.64.1.2',
      'web.2 pending: no suitable node (host-mode port 8080/tcp in use on 2 nodes)',
    ]);
    const change = { kind: 'container', id: 'c', before: { ...claim, ports }, after: undefined } as never;
    expect([...schedule.keysOf(change, world.view)]).toEqual(['cluster']);
  });

  it('keeps a host-mode port taken while one of its two leaving holders is still there', () => {
    const world = new World().nodes('n1').service('web', {}, HOST_8080);
    world.on('n1', 'web.1', 'shutdown', { desired: 'shutdown' });
    world.on('n1', 'web.1b', 'running', { desired: 'shutdown' });
    expect(world.task('web.1c').run()).toEqual([
      'web.1c pending: no suitable node (host-mode port 8080/tcp in use on 1 node)',
    ]);
  });

  it('keeps to the most replicas a node may have, and uses a new node at once', () => {
    const world = new World()
      .nodes('n1', 'n2', 'n3')
      .service('web', { placement: { constraints: [], maxReplicasPerNode: 2 } })
      .tasks('web', 8);
    const lines = world.run();
    expect(perNode(lines)).toEqual({ n1: 2, n2: 2, n3: 2 });
    expect(lines.slice(6)).toEqual([
      'web.7 pending: no suitable node (max replicas per node (2) reached on 3 nodes)',
      'web.8 pending: no suitable node (max replicas per node (2) reached on 3 nodes)',
    ]);
    expect(perNode(world.nodes('n4').run())).toEqual({ n4: 2 });
  });

  it('counts tasks of another revision of the service that the same plan binds', () => {
    const world = new World()
      .nodes('n1', 'n2')
      .service('web', { placement: { constraints: [], maxReplicasPerNode: 1 } });
    world.store.put('revision', 'web.2', { ...world.got('revision', 'web.1'), number: 2 });
    expect(world.task('web.1').task('web.2', { revision: 2 }).task('web.3', { revision: 2 }).run()).toEqual([
      'web.1 -> n1 10.64.0.2',
      'web.2 -> n2 10.64.1.2',
      'web.3 pending: no suitable node (max replicas per node (1) reached on 2 nodes)',
    ]);
  });

  it('counts the overlap of a task started first towards the most a node may have', () => {
    const world = new World().nodes('n1').service('web', { placement: { constraints: [], maxReplicasPerNode: 1 } });
    world.on('n1', 'web.1').task('web.1b', { createdAt: 1 });
    expect(world.run()).toEqual(['web.1b pending: no suitable node (max replicas per node (1) reached on 1 node)']);
  });

  it('says so when a node has no address left', () => {
    const world = new World()
      .node('n1', { node: { block: '10.64.0.0/29' } })
      .service('web')
      .tasks('web', 6);
    expect(world.run().slice(4)).toEqual([
      'web.5 -> n1 10.64.0.6',
      'web.6 pending: no suitable node (no free address on 1 node)',
    ]);
  });

  it('goes on at once after a full plan', () => {
    const world = new World()
      .nodes('n1', 'n2', 'n3', 'n4', 'n5')
      .service('web')
      .tasks('web', UNITS_A_PLAN_MAX + 3);
    const lines = world.run(77);
    expect(lines).toHaveLength(UNITS_A_PLAN_MAX + 1);
    expect(lines.at(-1)).toBe('wake at 77');
    expect(world.run()).toHaveLength(3);
  });

  it('writes on a task whose revision is gone that it is', () => {
    const world = new World().nodes('n1').task('web.1');
    expect(world.run()).toEqual([
      'web.1 pending: no suitable node (the revision that the task is made from is not in the store)',
    ]);
  });

  it('is asked when a task comes, ends or goes, and not when one runs', () => {
    const world = new World().nodes('n1').service('web');
    const asked: string[] = [];
    world.store.onBatch((batch) => {
      for (const change of batch.changes) {
        const keys = [...schedule.keysOf(change, world.view)];
        if (keys.length > 0) asked.push(`${change.kind} ${change.id}`);
      }
    });
    world.task('web.1').run();
    world.on('n1', 'web.1', 'running');
    expect(asked).toEqual(['task web.1']);
    world.on('n1', 'web.1', 'failed');
    expect(asked).toEqual(['task web.1', 'task-status web.1']);
  });
});
