import { afterEach, describe, expect, it } from 'vitest';
import type { Digest, NodeId } from '../../../common/model/ids.ts';
import { toServiceSpec } from '../../../common/wire/service.ts';
import type { Store } from '../../../manager/store/store.ts';
import { put } from '../../../manager/store/store.ts';
import { Control, Dispatcher, Images } from '../../../proto/methods.ts';
import { TestEtcd } from '../../support/etcd.ts';
import { aSpec, aTemplate, CONTAINER } from '../../support/fixtures.ts';
import { ManagerRig } from '../../support/manager-rig.ts';
import { MemoryEtcd } from '../../support/memory-store.ts';
import { until } from '../../support/until.ts';

const signal = AbortSignal.timeout(60_000);
const digest = `sha256:${'a'.repeat(64)}` as Digest;
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const web = (replicas: number, change: Parameters<typeof aSpec>[1] = {}) =>
  toServiceSpec(
    aSpec('web', {
      mode: { kind: 'replicated', replicas },
      ports: [{ protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' }],
      ...change,
    }),
  );

async function rig(store: Store, nodes: readonly string[] = ['n1', 'n2']): Promise<ManagerRig> {
  const made = await ManagerRig.make(store, nodes);
  closers.push(() => made.close());
  const image = { reference: 'web:1', digest, size: 1, blobs: [digest], loadedAt: 0, os: 'linux', arch: 'amd64' };
  await store.commit([[put('image', 'web:1', image)]], signal);
  return made;
}

async function memoryRig(nodes?: readonly string[]) {
  const etcd = new MemoryEtcd();
  const store = etcd.connect();
  const made = await rig(store, nodes);
  const { address } = await made.manager(store);
  return { etcd, store, rig: made, address, control: await made.control(address) };
}

const ready = (store: Store, node: string) =>
  until(`${node} is ready`, 5_000, () => store.view.get('node-status', node)?.value.state === 'ready');

describe('a manager', () => {
  it('carries an error to the client with its code, field and hint', async () => {
    const { control } = await memoryRig();
    await expect(control.createService({ spec: { ...web(1), name: 'a b' } }, { signal })).rejects.toMatchObject({
      code: 'invalid',
      field: 'name',
      hint: expect.stringContaining('letters and digits'),
    });
    await expect(control.getService({ ref: 'absent' }, { signal })).rejects.toMatchObject({ code: 'not_found' });
  });

  it('denies clients the agents’ door and agents the clients’ door', async () => {
    const { rig: made, address } = await memoryRig();
    const worker = (await made.channel(address, 'worker', 'n1')).service(Control);
    await expect(worker.listServices({}, { signal })).rejects.toMatchObject({ code: 'denied' });
    const client = (await made.channel(address, 'client', 'admin')).service(Dispatcher);
    const empty = (async function* () {})();
    await expect(client.publishLogs(empty, { signal })).rejects.toMatchObject({ code: 'denied' });
  });

  it('takes a service from its creation to running tasks on the nodes in session', async () => {
    const { control, rig: made, address, store } = await memoryRig();
    for (const node of ['n1', 'n2']) await made.agent(address, node);
    await ready(store, 'n1');
    await ready(store, 'n2');
    const { service, version } = await control.createService(
      { spec: web(4, { update: { ...aSpec('x').update, monitorMs: 100 } }) },
      { signal },
    );
    const pictures: string[] = [];
    for await (const progress of control.watchProgress({ id: service?.id ?? '', version }, { signal })) {
      pictures.push(`${progress.running}/${progress.desired} ${progress.verdict}`);
    }
    expect(pictures.at(-1)).toBe('4/4 1');
    const { tasks } = await control.listTasks({}, { signal });
    expect(tasks.map(({ state, nodeName }) => [state, nodeName]).sort()).toEqual([
      ['running', 'n1'],
      ['running', 'n1'],
      ['running', 'n2'],
      ['running', 'n2'],
    ]);
  });

  it('refuses an update at a stale version over the wire', async () => {
    const { control } = await memoryRig();
    const { service, version } = await control.createService({ spec: web(1) }, { signal });
    const request = { id: service?.id ?? '', version };
    await control.updateService({ ...request, spec: { ...service?.spec, labels: { a: 'b' } } }, { signal });
    await expect(control.updateService({ ...request, spec: web(1) }, { signal })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  it('lets no node report or acknowledge for another', async () => {
    const { control, rig: made, address, store } = await memoryRig();
    const n1 = await made.agent(address, 'n1');
    await ready(store, 'n1');
    await control.createService({ spec: web(1) }, { signal });
    const task = await until('a task runs on n1', 5_000, () =>
      [...store.view.all('task-status')].find(({ value }) => value.state === 'running'),
    );
    const n2 = await made.agent(address, 'n2');
    await ready(store, 'n2');
    const sequence = n2.report({ taskId: task.value.taskId, nodeId: 'n1', state: 'failed' });
    await until('the report is answered', 5_000, () =>
      n2.heard.some(({ reportAck }) => reportAck?.sequence === sequence),
    );
    expect(store.view.get('task-status', task.value.taskId)?.value.state).toBe('running');
    expect(n1.end).toBeUndefined();
  });

  it('ends the older of two sessions of one node', async () => {
    const { rig: made, address, store } = await memoryRig();
    const first = await made.agent(address, 'n1');
    await ready(store, 'n1');
    await made.agent(address, 'n1');
    await until('the first session has ended', 5_000, () => first.end !== undefined);
    expect(first.end).toMatchObject({ code: 'conflict' });
    expect(store.view.get('node-status', 'n1')?.value.state).toBe('ready');
  });

  it('closes the session of a removed node and denies it the next', async () => {
    const { control, rig: made, address, store } = await memoryRig();
    const agent = await made.agent(address, 'n1');
    await ready(store, 'n1');
    await control.removeNode({ ref: 'n1', force: true }, { signal });
    await until('the session has ended', 5_000, () => agent.end !== undefined);
    expect(agent.end).toMatchObject({ code: 'denied' });
    const again = await made.agent(address, 'n1');
    await until('the next is denied', 5_000, () => again.end !== undefined);
    expect(again.end).toMatchObject({ code: 'denied' });
    const blobs = (await made.channel(address, 'worker', 'n1')).service(Images).fetchBlob({ digest }, { signal });
    await expect(blobs[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'denied' });
  });

  it('makes a node suspect when its agent goes', async () => {
    const { rig: made, address, store } = await memoryRig();
    const agent = await made.agent(address, 'n1');
    await ready(store, 'n1');
    agent.leave();
    await until('n1 is suspect', 5_000, () => store.view.get('node-status', 'n1')?.value.state === 'suspect');
  });

  it('releases a leaving task when all nodes have acknowledged, and forgets it when it has stopped', async () => {
    const { control, rig: made, address, store } = await memoryRig();
    for (const node of ['n1', 'n2']) await made.agent(address, node);
    await ready(store, 'n1');
    await ready(store, 'n2');
    await control.createService({ spec: web(2) }, { signal });
    const running = () => [...store.view.all('task-status')].filter(({ value }) => value.state === 'running').length;
    await until('two tasks run', 5_000, () => running() === 2);
    await control.removeService({ ref: 'web' }, { signal });
    await until('all tasks are gone', 10_000, () => [...store.view.all('task')].length === 0);
    expect([...store.view.all('task-status')]).toEqual([]);
  });

  it('says who leads when an agent asks another manager', async () => {
    const { etcd, rig: made, address } = await memoryRig();
    const follower = await made.manager(etcd.connect());
    const agent = await made.agent(follower.address, 'n1');
    await until('the session is refused', 5_000, () => agent.end !== undefined);
    expect(agent.end).toMatchObject({ code: 'unavailable', hint: `ask the leader at ${address}` });
  });

  it('merges the logs of all tasks, also through a manager that does not lead', async () => {
    const { etcd, control, rig: made, address, store } = await memoryRig();
    for (const node of ['n1', 'n2']) (await made.agent(address, node)).lines = ['one', 'two'];
    await ready(store, 'n1');
    await ready(store, 'n2');
    await control.createService({ spec: web(2) }, { signal });
    const running = () => [...store.view.all('task-status')].filter(({ value }) => value.state === 'running').length;
    await until('two tasks run', 5_000, () => running() === 2);
    const follower = await made.control((await made.manager(etcd.connect())).address);
    for (const door of [control, follower]) {
      const lines: string[] = [];
      for await (const line of door.logs({ refs: ['web'], tail: -1 }, { signal })) {
        expect(line.incomplete).toBe('');
        lines.push(`${line.serviceName}.${line.slot}@${line.nodeName} ${Buffer.from(line.text)}`);
      }
      expect(lines.map((line) => line.replace(/\.\d/, '')).sort()).toEqual([
        'web@n1 one',
        'web@n1 two',
        'web@n2 one',
        'web@n2 two',
      ]);
    }
  });

  it('says at the end of logs which tasks it could not read', async () => {
    const { control, rig: made, address, store } = await memoryRig(['n1']);
    const agent = await made.agent(address, 'n1');
    await ready(store, 'n1');
    await control.createService({ spec: web(1) }, { signal });
    await until('a task runs', 5_000, () =>
      [...store.view.all('task-status')].some(({ value }) => value.state === 'running'),
    );
    agent.leave();
    await until('n1 is suspect', 5_000, () => store.view.get('node-status', 'n1')?.value.state === 'suspect');
    const last: string[] = [];
    for await (const line of control.logs({ refs: ['web'], tail: -1 }, { signal })) last.push(line.incomplete);
    expect(last).toEqual([expect.stringMatching(/^could not be read: web\.1\..* on node n1$/)]);
  });

  it('tells watchers what happens, first what has just happened', async () => {
    const { control } = await memoryRig();
    const before = Date.now() - 1;
    await control.createService({ spec: web(0) }, { signal });
    const leave = new AbortController();
    const seen: string[] = [];
    const watching = control.watch({ types: ['service'], sinceMs: before }, { signal: leave.signal });
    await control.removeService({ ref: 'web' }, { signal });
    for await (const event of watching) {
      seen.push(`${event.action} ${event.name}`);
      if (event.action === 'remove') break;
    }
    leave.abort();
    expect(seen).toEqual(['create web', 'remove web']);
  });

  it('shows the cluster without its secrets', async () => {
    const { control, store, address } = await memoryRig();
    await until('somebody leads', 5_000, () => store.view.get('leader', 'default') !== undefined);
    const info = await control.getCluster({}, { signal });
    expect(info).toMatchObject({ leaderAddress: address, etcd: { healthy: true } });
    const secrets = store.view.get('cluster', 'default')?.value;
    const text = Buffer.from(JSON.stringify(info)).toString();
    expect(text).not.toContain(secrets?.joinSecret);
    expect(text).not.toContain('PRIVATE KEY');
  });

  it('rotates the join token', async () => {
    const { control } = await memoryRig();
    const token = async (rotate: boolean) => (await control.getJoinToken({ rotate }, { signal })).token;
    const first = await token(false);
    expect(await token(false)).toBe(first);
    expect(await token(true)).not.toBe(first);
  });

  it('frees its port and its lead when it is closed', async () => {
    const store = new MemoryEtcd().connect();
    const made = await rig(store);
    const manager = await made.manager(store);
    await until('it leads', 5_000, () => store.view.get('leader', 'default') !== undefined);
    await manager.close();
    expect(store.view.get('leader', 'default')).toBeUndefined();
    expect(manager.failed.reason).toMatchObject({ code: 'unavailable' });
  });
});

it('does the same on a real etcd, and another manager goes on where it stopped', { timeout: 60_000 }, async () => {
  const etcd = await TestEtcd.start();
  closers.push(() => etcd.close());
  const store = await etcd.store();
  const made = await rig(store);
  const first = await made.manager(store);
  const agents = [await made.agent(first.address, 'n1'), await made.agent(first.address, 'n2')];
  await until('both nodes are ready', 15_000, () =>
    ['n1', 'n2'].every((node) => store.view.get('node-status', node as NodeId)?.value.state === 'ready'),
  );
  await (await made.control(first.address)).createService(
    { spec: web(3, { template: aTemplate({ container: CONTAINER }) }) },
    { signal },
  );
  const running = () => [...store.view.all('task-status')].filter(({ value }) => value.state === 'running').length;
  await until('three tasks run', 15_000, () => running() === 3);
  const tasks = [...store.view.all('task')].map(({ value }) => value.id).sort();
  await first.close();
  await until('the sessions have ended', 5_000, () => agents.every(({ end }) => end !== undefined));
  expect([...store.view.all('node-status')].map(({ value }) => value.state)).toEqual(['ready', 'ready']);
  const second = await made.manager(await etcd.store());
  const control = await made.control(second.address);
  await until(
    'the second leads',
    15_000,
    async () => (await control.getCluster({}, { signal })).leaderAddress === second.address,
  );
  for (const node of ['n1', 'n2']) await made.agent(second.address, node);
  await control.updateService(
    await (async () => {
      const { service, version } = await control.getService({ ref: 'web' }, { signal });
      return { id: service?.id ?? '', version, spec: { ...service?.spec, replicas: 4 } };
    })(),
    { signal },
  );
  await until('four tasks run', 15_000, () => running() === 4);
  expect([...store.view.all('task')].map(({ value }) => value.id)).toEqual(expect.arrayContaining(tasks));
});
