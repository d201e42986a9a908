import { describe, expect, it } from 'vitest';
import type { Digest, NodeId } from '../../../../common/model/ids.ts';
import type { Port, Service, ServiceSpec } from '../../../../common/model/service.ts';
import type { Context } from '../../../../manager/control/context.ts';
import { findNode, findService } from '../../../../manager/control/lookup.ts';
import { removeNode, updateNode } from '../../../../manager/control/nodes.ts';
import {
  createService,
  listServices,
  removeService,
  rollbackService,
  updateService,
} from '../../../../manager/control/services.ts';
import { listTasks } from '../../../../manager/control/tasks.ts';
import type { Stored } from '../../../../manager/store/store.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { aSpec, aTemplate, CONTAINER } from '../../../support/fixtures.ts';
import { deepFreeze } from '../../../support/freeze.ts';

const signal = new AbortController().signal;
const HTTP: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' };
const digestOf = (letter: string) => `sha256:${letter.repeat(64)}` as Digest;

function image(builder: ClusterBuilder, reference: string, letter: string): ClusterBuilder {
  const digest = digestOf(letter);
  return builder.put('image', reference, {
    reference,
    digest,
    size: 1,
    blobs: [digest],
    loadedAt: 0,
    os: 'linux',
    arch: 'amd64',
  });
}

function world(): { readonly builder: ClusterBuilder; readonly context: Context } {
  const builder = image(image(cluster(2), 'web:1', 'a'), 'web:2', 'b');
  return { builder, context: { store: builder.store, clock: new FakeClock(1_000) } };
}

const withImage = (spec: ServiceSpec, name: string): ServiceSpec =>
  deepFreeze({ ...spec, template: aTemplate({ container: { ...CONTAINER, image: name } }) });
const web = deepFreeze(aSpec('web', { ports: [HTTP] }));

describe('creating a service', () => {
  it('stores it with its name, its first revision and the image pinned to a digest', async () => {
    const { builder, context } = world();
    const { value } = await createService(context, web, signal);
    expect(value).toMatchObject({ revision: 1, lastRevision: 1, rolledBack: false, createdAt: 1_000 });
    expect(value.spec.template.container.image).toBe(`web:1@${digestOf('a')}`);
    expect(value.spec.template.container.imageDigest).toBe(digestOf('a'));
    expect(builder.get('name', 'service/web').id).toBe(value.id);
    expect(builder.get('revision', `${value.id}.1`)).toMatchObject({ number: 1, serviceName: 'web' });
  });

  it('is refused with field and hint for a bad spec', async () => {
    const { context } = world();
    await expect(createService(context, aSpec('a b'), signal)).rejects.toMatchObject({
      code: 'invalid',
      field: 'name',
    });
  });

  it('is refused for a name that is taken, in whatever case', async () => {
    const { context } = world();
    await createService(context, web, signal);
    await expect(createService(context, aSpec('WEB'), signal)).rejects.toMatchObject({
      code: 'exists',
      message: 'service "WEB" exists already',
    });
  });

  it('is refused for a port of another service, which is named', async () => {
    const { context } = world();
    await createService(context, web, signal);
    await expect(createService(context, aSpec('api', { ports: [HTTP] }), signal)).rejects.toMatchObject({
      code: 'exists',
      message: 'port 8080/tcp is published by service "web"',
      field: 'ports[0].published',
    });
  });

  it('is refused for an image that the cluster does not hold, saying how to load it', async () => {
    const { context } = world();
    await expect(createService(context, withImage(web, 'absent:1'), signal)).rejects.toMatchObject({
      code: 'not_found',
      message: 'image "absent:1" is not in the cluster',
      hint: expect.stringContaining('covey image load FILE'),
    });
  });

  it('assigns published ports that the user left open', async () => {
    const { context } = world();
    const open = { ...HTTP, published: 0 };
    const first = await createService(context, aSpec('a', { ports: [open] }), signal);
    const second = await createService(context, aSpec('b', { ports: [open] }), signal);
    expect([first, second].map(({ value }) => value.spec.ports[0]?.published)).toEqual([30_000, 30_001]);
  });

  it('gives one of two simultaneous users the port, on whichever managers', async () => {
    const { builder, context } = world();
    const other = { ...context, store: builder.store.etcd.connect() };
    const results = await Promise.allSettled([
      createService(context, web, signal),
      createService(other, aSpec('api', { ports: [HTTP] }), signal),
    ]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });
});

describe('updating a service', () => {
  async function created(): Promise<ReturnType<typeof world> & { readonly before: Stored<Service> }> {
    const made = world();
    return { ...made, before: await createService(made.context, web, signal) };
  }
  const edit = ({ value, rev }: Stored<Service>, change: Partial<ServiceSpec>) => ({
    id: value.id,
    version: rev,
    spec: { ...value.spec, ...change },
  });

  it('restarts nothing when the same image gets another name, and shows the new one', async () => {
    const { builder, context, before } = await created();
    image(builder, 'web:stable', 'a');
    const { value } = await updateService(context, edit(before, withImage(before.value.spec, 'web:stable')), signal);
    expect(value).toMatchObject({ revision: 1, lastRevision: 1 });
    expect(value.previous).toBeUndefined();
    expect(value.spec.template.container.image).toBe(`web:stable@${digestOf('a')}`);
    const renamed = { value, rev: builder.store.view.get('service', value.id)?.rev ?? 0 };
    const back = await updateService(context, edit(renamed, { labels: { a: 'b' } }), signal);
    expect(back.value.revision).toBe(1);
  });

  it('begins a new revision when the template changes, and keeps the old spec to go back to', async () => {
    const { builder, context, before } = await created();
    const { value } = await updateService(context, edit(before, withImage(before.value.spec, 'web:2')), signal);
    expect(value).toMatchObject({ revision: 2, lastRevision: 2 });
    expect(value.previous).toEqual({ spec: before.value.spec, revision: 1 });
    expect(builder.get('revision', `${value.id}.2`).template.container.imageDigest).toBe(digestOf('b'));
  });

  it('begins a new revision when the ports change', async () => {
    const { context, before } = await created();
    const { value } = await updateService(context, edit(before, { ports: [] }), signal);
    expect(value.revision).toBe(2);
  });

  it('stays at its revision when only labels, replicas or policies change', async () => {
    const { context, before } = await created();
    const policy = { ...before.value.spec.update, parallelism: 3 };
    const change = { labels: { a: 'b' }, mode: { kind: 'replicated', replicas: 5 } as const, update: policy };
    const { value } = await updateService(context, edit(before, change), signal);
    expect(value).toMatchObject({ revision: 1, lastRevision: 1 });
    expect(value.previous).toBeUndefined();
    expect(value.spec).toMatchObject(change);
  });

  it('does not take another order of keys for a change', async () => {
    const { context, before } = await created();
    const { container, ...rest } = before.value.spec.template;
    const { image: name, ...others } = container;
    const { value } = await updateService(
      context,
      edit(before, { template: { ...rest, container: { ...others, image: name } } }),
      signal,
    );
    expect(value.revision).toBe(1);
  });

  it('keeps the image that was pinned though its tag has moved', async () => {
    const { builder, context, before } = await created();
    image(builder, 'web:1', 'c');
    const kept = await updateService(context, edit(before, { labels: { a: 'b' } }), signal);
    expect(kept.value).toMatchObject({ revision: 1 });
    const named = await updateService(context, edit(kept, withImage(kept.value.spec, 'web:1')), signal);
    expect(named.value.spec.template.container.imageDigest).toBe(digestOf('c'));
  });

  it('is refused at a stale version, naming the current one', async () => {
    const { context, before } = await created();
    const after = await updateService(context, edit(before, { labels: { a: 'b' } }), signal);
    await expect(updateService(context, edit(before, { labels: { c: 'd' } }), signal)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`is at version ${after.rev}, not ${before.rev}`),
    });
  });

  it('succeeds for exactly one of two users with the same version', async () => {
    const { builder, context, before } = await created();
    const other = { ...context, store: builder.store.etcd.connect() };
    const results = await Promise.allSettled([
      updateService(context, edit(before, { labels: { a: '1' } }), signal),
      updateService(other, edit(before, { labels: { a: '2' } }), signal),
    ]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('cannot rename a service', async () => {
    const { context, before } = await created();
    await expect(updateService(context, edit(before, { name: 'api' }), signal)).rejects.toMatchObject({
      field: 'name',
    });
  });

  it('keeps the number of a port that was assigned', async () => {
    const { context } = world();
    const open = { ...HTTP, published: 0 };
    const before = await createService(context, aSpec('a', { ports: [open] }), signal);
    const { value } = await updateService(context, edit(before, { ports: [open], labels: { a: 'b' } }), signal);
    expect(value).toMatchObject({ revision: 1, spec: { ports: [{ published: 30_000 }] } });
  });

  it('goes back to the previous spec, and twice forward again', async () => {
    const { context, before } = await created();
    const updated = await updateService(context, edit(before, withImage(before.value.spec, 'web:2')), signal);
    const back = await rollbackService(context, { id: updated.value.id, version: updated.rev }, signal);
    expect(back.value).toMatchObject({ revision: 1, lastRevision: 2, rolledBack: true, spec: before.value.spec });
    const forward = await rollbackService(context, { id: updated.value.id, version: 0 }, signal);
    expect(forward.value).toMatchObject({ revision: 2, spec: updated.value.spec });
  });

  it('cannot go back when there is nothing to go back to', async () => {
    const { context, before } = await created();
    await expect(rollbackService(context, { id: before.value.id, version: 0 }, signal)).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('cannot go back to a port that is another service’s by now', async () => {
    const { context, before } = await created();
    const updated = await updateService(context, edit(before, { ports: [] }), signal);
    await createService(context, aSpec('api', { ports: [HTTP] }), signal);
    await expect(rollbackService(context, { id: updated.value.id, version: 0 }, signal)).rejects.toMatchObject({
      code: 'exists',
      message: expect.stringContaining('"api"'),
    });
  });

  it('frees name and port when the service is removed', async () => {
    const { context } = await created();
    await removeService(context, 'web', signal);
    await expect(createService(context, web, signal)).resolves.toBeDefined();
  });
});

describe('looking things up', () => {
  it('finds a service by id, by name in any case and by unambiguous id prefix', () => {
    const { view } = cluster(1).service('web').service('worker').put('name', 'service/web', { name: 'web', id: 'web' });
    for (const ref of ['web', 'WEB', 'we']) expect(findService(view, ref).value.id).toBe('web');
    expect(() => findService(view, 'w')).toThrow('"w" matches several services: web (web), worker (worker)');
    expect(() => findService(view, 'x')).toThrow('service "x" is not in the cluster');
    expect(() => findService(view, '')).toThrow();
  });

  it('finds a node by hostname, and asks for the id when two have the same', () => {
    const builder = cluster(2);
    expect(findNode(builder.view, 'n2').value.id).toBe('n2');
    const twin = { ...builder.get('node-status', 'n1').description, hostname: 'twin' };
    builder.edit('node-status', 'n1', { description: twin }).edit('node-status', 'n2', { description: twin });
    expect(() => findNode(builder.view, 'twin')).toThrow('matches several nodes');
  });

  it('lists services by name prefix, id prefix and labels', () => {
    const { view } = cluster(1)
      .service('web', { labels: { tier: 'front' } })
      .service('worker');
    const names = (filter: object) =>
      listServices(view, { names: [], ids: [], labels: {}, ...filter }).map(({ value }) => value.spec.name);
    expect(names({})).toEqual(['web', 'worker']);
    expect(names({ names: ['we'] })).toEqual(['web']);
    expect(names({ labels: { tier: 'front' } })).toEqual(['web']);
    expect(names({ labels: { tier: '' } })).toEqual(['web']);
    expect(names({ labels: { tier: 'back' } })).toEqual([]);
  });
});

describe('tasks as users see them', () => {
  it('tell for a task without a node why each node refuses it', () => {
    const builder = cluster(2)
      .drain('n1')
      .drain('n2')
      .service('web')
      .task('web.1', { node: '', pending: 'no suitable node' });
    const [task] = listTasks(builder.view, { services: ['web'], nodes: [] }, 0);
    expect(task?.state).toBe('pending');
    expect(task?.refusals.map(({ node, reason }) => [node, reason])).toEqual([
      ['n1', 'node is drained'],
      ['n2', 'node is drained'],
    ]);
  });

  it('are orphaned when their node has been removed', () => {
    const builder = cluster(2)
      .service('web')
      .task('web.1', { node: 'n1', status: { state: 'running' } })
      .delete('node', 'n1');
    expect(listTasks(builder.view, { services: [], nodes: [] }, 0)[0]?.state).toBe('orphaned');
  });

  it('come in order of service and slot, the newest of a slot first', () => {
    const builder = cluster(1).service('b').service('a');
    builder.task('b.1').task('a.2').task('a.1', { createdAt: 1 }).task('a.1#2', { createdAt: 2 });
    const ids = listTasks(builder.view, { services: [], nodes: [] }, 0).map(({ task }) => task.id);
    expect(ids).toEqual(['a.1#2', 'a.1', 'a.2', 'b.1']);
  });
});

describe('nodes', () => {
  it('are not removed while they are ready, unless forced', async () => {
    const { builder, context } = world();
    await expect(removeNode(context, { ref: 'n1', force: false }, signal)).rejects.toMatchObject({ code: 'invalid' });
    await removeNode(context, { ref: 'n1', force: true }, signal);
    expect(builder.view.get('node', 'n1')).toBeUndefined();
    expect(builder.view.get('node-status', 'n1')).toBeUndefined();
    expect(builder.get('cluster', 'default').revoked['n1' as NodeId]).toBeGreaterThan(1_000);
  });

  it('are removed without force when they are silent', async () => {
    const { builder, context } = world();
    builder.silent('n1', 0);
    await removeNode(context, { ref: 'n1', force: false }, signal);
    expect(builder.view.get('node', 'n1')).toBeUndefined();
  });

  it('change availability and labels at the version that was read', async () => {
    const { builder, context } = world();
    const version = builder.view.get('node', 'n1')?.rev ?? 0;
    const change = { id: 'n1', version, availability: 'drain', labelsAdd: { zone: 'a' }, labelsRm: [] };
    const { value } = await updateNode(context, change, signal);
    expect(value).toMatchObject({ availability: 'drain', labels: { zone: 'a' } });
    await expect(updateNode(context, change, signal)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('refuse an unknown availability and the removal of a label that is not there', async () => {
    const { context } = world();
    const change = { id: 'n1', version: 0, availability: '', labelsAdd: {}, labelsRm: [] };
    await expect(updateNode(context, { ...change, availability: 'away' }, signal)).rejects.toMatchObject({
      field: 'availability',
    });
    await expect(updateNode(context, { ...change, labelsRm: ['zone'] }, signal)).rejects.toMatchObject({
      field: 'labelsRm',
    });
  });
});
