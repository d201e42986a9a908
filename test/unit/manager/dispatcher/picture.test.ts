import { describe, expect, it } from 'vitest';
import type { NodeId, TaskId } from '../../../../common/model/ids.ts';
import type { Port } from '../../../../common/model/service.ts';
import { assignmentSet, complete, difference } from '../../../../manager/dispatcher/assignments.ts';
import { doubtAll, doubtOf, EMPTY, nextPicture, type Picture } from '../../../../manager/dispatcher/picture.ts';
import type { Batch } from '../../../../manager/store/store.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';

const HTTP: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' };
const running = { status: { state: 'running' } } as const;

/** Two nodes and `web` published on 8080, with task web.1 on n1 and web.2 on n2. */
function web(): ClusterBuilder {
  return cluster(2)
    .service('web', { replicas: 2, ports: [HTTP] })
    .task('web.1', { node: 'n1', address: '10.64.1.2', ...running })
    .task('web.2', { node: 'n2', address: '10.64.2.2', ...running });
}

const all = ({ view }: ClusterBuilder): Picture => nextPicture(view, EMPTY, doubtAll(view, EMPTY));

/** `KEY service: task@address:target, …` of each port. */
function ports(picture: Picture): readonly string[] {
  return [...picture.ports.values()].map(
    ({ key, serviceId, backends }) =>
      `${key} ${serviceId}: ${backends.map(({ taskId, address, target }) => `${taskId}@${address}:${target}`).join(' ')}`,
  );
}

function setOf(world: ClusterBuilder, node: string, picture = all(world), released: readonly string[] = []) {
  return assignmentSet(world.view, node as NodeId, {
    picture,
    released: new Set(released as TaskId[]),
    skipDrain: false,
  });
}

describe('the picture of the cluster', () => {
  it('has every ready task of a published service as a backend, in order of task id', () => {
    expect(ports(all(web()))).toEqual(['tcp/8080 web: web.1@10.64.1.2:80 web.2@10.64.2.2:80']);
  });

  it('keeps a published port without backends, so that connections are refused', () => {
    expect(ports(all(cluster(1).service('web', { ports: [HTTP] })))).toEqual(['tcp/8080 web: ']);
  });

  it('leaves out tasks that are not running, not healthy, not wanted or held back', () => {
    for (const world of [
      web().status('web.1', { state: 'failed' }),
      web().status('web.1', { healthy: false }),
      web().edit('task', 'web.1', { desired: 'shutdown' }),
      web().edit('task', 'web.1', { desired: 'ready' }),
    ]) {
      expect(ports(all(world))).toEqual(['tcp/8080 web: web.2@10.64.2.2:80']);
    }
  });

  it('leaves out the tasks of a silent node at once', () => {
    expect(ports(all(web().silent('n2', 0)))).toEqual(['tcp/8080 web: web.1@10.64.1.2:80']);
  });

  it('leaves host-mode ports to their hosts', () => {
    const world = cluster(1)
      .service('dns', { ports: [{ ...HTTP, mode: 'host' }] })
      .task('dns.1', { address: '10.64.1.2', ...running });
    expect(ports(all(world))).toEqual([]);
  });

  it('sends connections to each task at the port of its own revision', () => {
    const world = web()
      .update('web', { replicas: 2, ports: [{ ...HTTP, target: 81 }] })
      .task('web.1#2', { node: 'n1', address: '10.64.1.3', ...running });
    expect(ports(all(world))).toEqual(['tcp/8080 web: web.1@10.64.1.2:80 web.1#2@10.64.1.3:81 web.2@10.64.2.2:80']);
  });

  it('gives a port that has moved to the service that publishes it now', () => {
    const world = web()
      .update('web', { replicas: 2, ports: [] })
      .service('api', { ports: [HTTP] });
    expect(ports(all(world))).toEqual(['tcp/8080 api: ']);
  });

  it('has all nodes with a block as peers, silent ones marked', () => {
    const picture = all(cluster(2).silent('n2', 0).node('n3', { block: '' }).delete('node-status', 'n3'));
    expect([...picture.peers.values()].map(({ nodeId, suspect }) => [nodeId, suspect])).toEqual([
      ['n1', false],
      ['n2', true],
    ]);
  });

  it('is the same object when a change says nothing to other nodes', () => {
    const world = web();
    const before = all(world);
    const batches: Batch[] = [];
    world.store.onBatch((batch) => batches.push(batch));
    world.status('web.1', { pid: 7 });
    const changes = batches.flatMap((batch) => [...batch.changes]);
    expect(nextPicture(world.view, before, doubtOf(changes, world.view))).toBe(before);
  });

  it('is after any change what it would be if it were made anew', () => {
    const world = web();
    let picture = all(world);
    const batches: Batch[] = [];
    world.store.onBatch((batch) => batches.push(batch));
    const steps: ((builder: ClusterBuilder) => unknown)[] = [
      (builder) => builder.status('web.1', { healthy: false }),
      (builder) => builder.silent('n2', 5),
      (builder) => builder.node('n3'),
      (builder) => builder.task('web.3', { node: 'n3', address: '10.64.3.2', ...running }),
      (builder) => builder.status('web.1', { healthy: true }),
      (builder) => builder.delete('node', 'n2').delete('node-status', 'n2'),
      (builder) => builder.delete('service', 'web'),
      (builder) => builder.delete('task', 'web.1').delete('task', 'web.2').delete('task', 'web.3'),
    ];
    for (const step of steps) {
      step(world);
      const changes = batches.splice(0).flatMap((batch) => [...batch.changes]);
      picture = nextPicture(world.view, picture, doubtOf(changes, world.view));
      expect(picture).toEqual(all(world));
    }
    expect(ports(picture)).toEqual([]);
  });
});

describe('the assignments of a node', () => {
  it('hold its own tasks only', () => {
    expect([...setOf(web(), 'n1').tasks.keys()]).toEqual(['web.1']);
  });

  it('name all peers but the node itself', () => {
    const world = web();
    expect(complete(world.view, setOf(world, 'n1')).peers?.map(({ nodeId }) => nodeId)).toEqual(['n2']);
  });

  it('have nothing to tell when nothing has changed', () => {
    const world = web();
    const picture = all(world);
    expect(difference(setOf(world, 'n1', picture), setOf(world, 'n1', picture))).toBeUndefined();
  });

  it('tell a changed task whole and a deleted one by its id', () => {
    const world = web();
    const picture = all(world);
    const before = setOf(world, 'n1', picture);
    world.edit('task', 'web.1', { desired: 'shutdown' });
    const changed = difference(before, setOf(world, 'n1', picture));
    expect(changed?.tasks?.map(({ task }) => [task?.id, task?.desired])).toEqual([['web.1', 'shutdown']]);
    world.delete('task', 'web.1');
    expect(difference(before, setOf(world, 'n1', picture))?.goneTasks).toEqual(['web.1']);
  });

  it('do not repeat a task of which only the status has changed', () => {
    const world = web();
    const picture = all(world);
    const before = setOf(world, 'n1', picture);
    world.status('web.1', { pid: 9 });
    expect(difference(before, setOf(world, 'n1', picture))).toBeUndefined();
  });

  it('tell ports and peers that have changed or gone', () => {
    const world = web();
    const before = setOf(world, 'n1');
    world.silent('n2', 3);
    const step = difference(before, setOf(world, 'n1'));
    expect(step?.peers?.map(({ nodeId, suspect }) => [nodeId, suspect])).toEqual([['n2', true]]);
    expect(step?.ports?.map(({ key, backends }) => [key, backends?.length])).toEqual([['tcp/8080', 1]]);
  });

  it('let a leaving published task wait for its release, and an unpublished one go at once', () => {
    const world = web().edit('task', 'web.1', { desired: 'shutdown' });
    world.service('job').task('job.1', { node: 'n1', desired: 'shutdown', ...running });
    const released = (ids: readonly string[]) =>
      [...setOf(world, 'n1', all(world), ids).tasks.values()].map((own) => [own.task.id, own.released]);
    expect(released([])).toEqual([
      ['web.1', false],
      ['job.1', true],
    ]);
    expect(released(['web.1'])).toEqual([
      ['web.1', true],
      ['job.1', true],
    ]);
  });

  it('never ask an agent that may have lost its memory to run an ended task again', () => {
    const world = web().status('web.1', { state: 'failed' });
    const told = complete(world.view, setOf(world, 'n1')).tasks?.map(({ task }) => task?.desired);
    expect(told).toEqual(['shutdown']);
  });

  it('release at once and drain for no time under the test switch', () => {
    const world = web().edit('task', 'web.1', { desired: 'shutdown' });
    const set = assignmentSet(world.view, 'n1' as NodeId, {
      picture: all(world),
      released: new Set(),
      skipDrain: true,
    });
    const own = set.tasks.get('web.1' as TaskId);
    expect([own?.released, own?.revision.template.container.drainMs]).toEqual([true, 0]);
  });
});
