import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import type { NodeId } from '../../../../common/model/ids.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { Agent, dispatching, running, web } from '../../../support/dispatcher-rig.ts';

let stop = new AbortController();
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());
const world = (builder: ClusterBuilder) => dispatching(builder, stop.signal);

describe('a session', () => {
  it('begins with a welcome and everything, and makes the node ready under this reign', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    expect(agent.heard[0]?.welcome?.nodeId).toBe('n1');
    expect(agent.heard[0]?.welcome?.failoverAfterMs).toBe(15_000);
    expect(agent.assignments[0]).toMatchObject({ complete: true, from: 0, epoch: w.reign.epoch });
    expect(agent.assignments[0]?.tasks?.map(({ task }) => task?.id)).toEqual(['web.1']);
    expect(w.cluster.get('node-status', 'n1')).toMatchObject({ state: 'ready', epoch: w.reign.epoch });
  });

  it('goes on with changes, each from the revision before', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    const before = agent.last?.revision;
    w.cluster.task('web.3', { node: 'n1', address: '10.64.1.3' });
    await w.pass();
    expect(agent.last).toMatchObject({ complete: false, from: before });
    expect(agent.last?.tasks?.map(({ task }) => task?.id)).toEqual(['web.3']);
  });

  it('puts changes of a few milliseconds into one message', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    const count = agent.assignments.length;
    for (const slot of [3, 4, 5]) w.cluster.task(`web.${slot}`, { node: 'n1', address: `10.64.1.${slot}` });
    await w.pass();
    expect(agent.assignments.length).toBe(count + 1);
    expect(agent.last?.tasks?.length).toBe(3);
  });

  it('says nothing of other nodes’ tasks', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    const count = agent.assignments.length;
    w.cluster.task('web.3', { node: 'n2', address: '10.64.2.3' });
    await w.pass();
    expect(agent.assignments.length).toBe(count);
  });

  it('is refused without a hello', async () => {
    const w = await world(web());
    const agent = new Agent(w.dispatcher, 'n1', stop.signal).say({ ack: { revision: 1 } });
    await w.pass();
    expect(agent.end).toMatchObject({ code: 'invalid' });
  });

  it('is denied to a node that the cluster does not know', async () => {
    const w = await world(web());
    const agent = await w.register('stranger');
    expect(agent.end).toMatchObject({ code: 'denied' });
    expect(w.cluster.view.get('node-status', 'stranger')).toBeUndefined();
  });

  it('ends, and is denied from then on, when its node is removed', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    w.cluster.delete('node', 'n1').edit('cluster', 'default', { revoked: { ['n1' as NodeId]: 1e15 } });
    await w.pass();
    expect(agent.end).toMatchObject({ code: 'denied' });
    expect((await w.register('n1')).end).toMatchObject({ code: 'denied' });
  });

  it('gives way to a second one of the same node, which stays ready throughout', async () => {
    const w = await world(web());
    const first = await w.register('n1');
    const states: string[] = [];
    w.cluster.store.onBatch(({ changes }) => {
      for (const change of changes) if (change.kind === 'node-status') states.push(change.after?.state ?? '');
    });
    const second = await w.register('n1');
    expect(first.end).toMatchObject({ code: 'conflict' });
    expect(second.last).toMatchObject({ complete: true });
    expect(states.filter((state) => state !== 'ready')).toEqual([]);
  });

  it('makes its node suspect when it ends', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    agent.leave();
    await w.pass();
    expect(w.cluster.get('node-status', 'n1')).toMatchObject({ state: 'suspect', message: 'its session ended' });
    expect(w.cluster.get('node-status', 'n1').silentSince).toBeGreaterThanOrEqual(100_000);
  });

  it('leaves its node ready when it is the lead that ends', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    w.cluster.store.etcd.depose();
    await w.pass();
    expect(agent.end).toMatchObject({ code: 'unavailable' });
    expect(w.cluster.get('node-status', 'n1').state).toBe('ready');
  });

  it('is refused for a while to a node that registers again and again', async () => {
    const w = await world(web());
    for (let time = 0; time < 3; time += 1) expect((await w.register('n1')).end).toBeUndefined();
    expect((await w.register('n1')).end).toMatchObject({ code: 'unavailable' });
    await w.pass(8_000);
    expect((await w.register('n1')).end).toBeUndefined();
  });

  it('stores a failed self-test when it changes', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    agent.say({ node: { unfit: 'disk is full' } });
    await w.pass();
    expect(w.cluster.get('node-status', 'n1')).toMatchObject({ unfit: 'disk is full', state: 'ready' });
    expect(w.cluster.get('node-status', 'n1').description.hostname).toBe('n1');
  });

  it('ends when it acknowledges what it was never sent', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    agent.say({ ack: { revision: 999 } });
    await w.pass();
    expect(agent.end).toMatchObject({ code: 'invalid' });
  });
});

describe('reports', () => {
  it('are stored with the manager’s time and acknowledged afterwards', async () => {
    const w = await world(cluster(1).service('web').task('web.1', { node: 'n1' }));
    const agent = await w.register('n1');
    agent.say({ report: { sequence: 1, statuses: [{ taskId: 'web.1', state: 'running', at: 5, healthy: true }] } });
    await w.pass();
    const stored = w.cluster.get('task-status', 'web.1');
    expect(stored).toMatchObject({ state: 'running', nodeId: 'n1', at: 5 });
    expect(stored.appliedAt).toBeGreaterThan(100_000);
    expect(stored.runningAt).toBe(stored.appliedAt);
    expect(agent.heard.at(-1)?.reportAck).toEqual({ sequence: 1 });
  });

  it('are acknowledged in their order', async () => {
    const w = await world(cluster(1).service('web').task('web.1', { node: 'n1' }));
    const agent = await w.register('n1');
    for (const [sequence, state] of [
      [1, 'accepted'],
      [2, 'preparing'],
      [3, 'running'],
    ] as const) {
      agent.say({ report: { sequence, statuses: [{ taskId: 'web.1', state, healthy: true }] } });
    }
    await w.pass();
    expect(agent.heard.flatMap(({ reportAck }) => reportAck?.sequence ?? [])).toEqual([1, 2, 3]);
    expect(w.cluster.get('task-status', 'web.1').state).toBe('running');
  });

  it('never take a state back', async () => {
    const w = await world(
      cluster(1)
        .service('web')
        .task('web.1', { node: 'n1', ...running }),
    );
    const agent = await w.register('n1');
    agent.say({ report: { sequence: 1, statuses: [{ taskId: 'web.1', state: 'preparing' }] } });
    await w.pass();
    expect(w.cluster.get('task-status', 'web.1').state).toBe('running');
    expect(agent.heard.at(-1)?.reportAck).toEqual({ sequence: 1 });
  });

  it('change nothing for unknown tasks and tasks of other nodes', async () => {
    const w = await world(web());
    const agent = await w.register('n1');
    const before = w.cluster.view.revision;
    agent.say({
      report: {
        sequence: 1,
        statuses: [
          { taskId: 'web.2', state: 'failed' },
          { taskId: 'nobody', state: 'failed' },
        ],
      },
    });
    await w.pass();
    expect(agent.heard.at(-1)?.reportAck).toEqual({ sequence: 1 });
    expect(w.cluster.view.revision).toBe(before);
  });

  it('are not stored a second time', async () => {
    const w = await world(cluster(1).service('web').task('web.1', { node: 'n1' }));
    const agent = await w.register('n1');
    const report = { statuses: [{ taskId: 'web.1', state: 'running', healthy: true }] };
    agent.say({ report: { sequence: 1, ...report } });
    await w.pass();
    const before = w.cluster.view.revision;
    agent.say({ report: { sequence: 2, ...report } });
    await w.pass();
    expect(w.cluster.view.revision).toBe(before);
    expect(agent.heard.at(-1)?.reportAck).toEqual({ sequence: 2 });
  });

  it('keep the time of the first running state when the task ends', async () => {
    const w = await world(cluster(1).service('web').task('web.1', { node: 'n1' }));
    const agent = await w.register('n1');
    agent.say({ report: { sequence: 1, statuses: [{ taskId: 'web.1', state: 'running', healthy: true }] } });
    await w.pass();
    const { runningAt } = w.cluster.get('task-status', 'web.1');
    agent.say({ report: { sequence: 2, statuses: [{ taskId: 'web.1', state: 'failed', exitCode: 1 }] } });
    await w.pass();
    expect(w.cluster.get('task-status', 'web.1')).toMatchObject({ state: 'failed', runningAt, exitCode: 1 });
  });

  it('are taken back by nobody once the task has ended', async () => {
    const w = await world(
      cluster(1)
        .service('web')
        .task('web.1', { node: 'n1', status: { state: 'complete' } }),
    );
    const agent = await w.register('n1');
    agent.say({ report: { sequence: 1, statuses: [{ taskId: 'web.1', state: 'failed' }] } });
    await w.pass();
    expect(w.cluster.get('task-status', 'web.1').state).toBe('complete');
  });

  it('with a word that no state has end the session', async () => {
    const w = await world(cluster(1).service('web').task('web.1', { node: 'n1' }));
    const agent = await w.register('n1');
    agent.say({ report: { sequence: 1, statuses: [{ taskId: 'web.1', state: 'dancing' }] } });
    await w.pass();
    expect(agent.end).toBeInstanceOf(ClusterError);
  });
});
