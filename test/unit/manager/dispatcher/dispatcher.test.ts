import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../../common/errors.ts';
import { Queue } from '../../../../common/iterate.ts';
import { noLog } from '../../../../common/log.ts';
import type { NodeId } from '../../../../common/model/ids.ts';
import type { Port } from '../../../../common/model/service.ts';
import { COALESCE_MS, Dispatcher } from '../../../../manager/dispatcher/dispatcher.ts';
import type { ManagerMessage } from '../../../../manager/dispatcher/session.ts';
import { covey } from '../../../../proto/messages.ts';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import type { MemoryReign } from '../../../support/memory-store.ts';

const HTTP: Port = { protocol: 'tcp', target: 80, published: 8080, mode: 'ingress' };
const running = { status: { state: 'running' } } as const;
let stop = new AbortController();
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());

/** An agent that says what a test tells it to, and keeps what it hears. */
class Agent {
  readonly heard: ManagerMessage[] = [];
  end: unknown;
  readonly #out = new Queue<covey.v1.AgentMessage>(100, stop.signal);
  readonly #gone = new AbortController();

  constructor(dispatcher: Dispatcher, node: string) {
    const listen = async (): Promise<void> => {
      for await (const message of dispatcher.session(node as NodeId, this.#out, this.#gone.signal)) {
        this.heard.push(message);
      }
    };
    listen().then(
      () => {
        this.end ??= 'clean';
      },
      (cause: unknown) => {
        this.end = cause;
      },
    );
  }

  say(message: covey.v1.AgentMessage.$Properties): this {
    this.#out.push(covey.v1.AgentMessage.decode(covey.v1.AgentMessage.encode(message).finish()));
    return this;
  }

  hello(node: string, unfit = ''): this {
    return this.say({ hello: { description: { hostname: node, address: '192.0.2.1' }, unfit } });
  }

  leave(): void {
    this.#gone.abort();
  }

  get assignments() {
    return this.heard.flatMap(({ assignments }) => (assignments ? [assignments] : []));
  }

  get last() {
    return this.assignments.at(-1);
  }
}

interface World {
  readonly cluster: ClusterBuilder;
  readonly clock: FakeClock;
  readonly dispatcher: Dispatcher;
  readonly reign: MemoryReign;
  register(node: string): Promise<Agent>;
  /** Lets everything happen that takes no longer than this. */
  pass(ms?: number): Promise<void>;
}

async function world(builder: ClusterBuilder, skipDrain = false): Promise<World> {
  const clock = new FakeClock(100_000);
  const reign = builder.store.etcd.enthrone({ managerId: 'm1' as never, address: 'm1:1' }, clock.now());
  const dispatcher = new Dispatcher({ store: builder.store, reign, clock, log: noLog, skipDrain });
  dispatcher.run(stop.signal).catch(() => {});
  const pass = async (ms = 20): Promise<void> => {
    await settle();
    for (let passed = 0; passed < ms; passed += COALESCE_MS) {
      clock.advance(COALESCE_MS);
      await settle();
    }
  };
  const register = async (node: string): Promise<Agent> => {
    const agent = new Agent(dispatcher, node).hello(node);
    await pass();
    return agent;
  };
  return { cluster: builder, clock, dispatcher, reign, register, pass };
}

/** Two nodes that are not there yet, each with a task of the published service. */
function web(): ClusterBuilder {
  return cluster(2)
    .silent('n1', 0)
    .silent('n2', 0)
    .service('web', { replicas: 2, ports: [HTTP] })
    .task('web.1', { node: 'n1', address: '10.64.1.2', ...running })
    .task('web.2', { node: 'n2', address: '10.64.2.2', ...running });
}

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
    const agent = new Agent(w.dispatcher, 'n1').say({ ack: { revision: 1 } });
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

describe('a leaving task', () => {
  const released = (agent: Agent, id: string) =>
    agent.assignments.flatMap(({ tasks }) => tasks ?? []).findLast(({ task }) => task?.id === id)?.released;

  /** Both agents have followed everything so far. */
  async function settled(w: World): Promise<readonly [Agent, Agent]> {
    const agents = [await w.register('n1'), await w.register('n2')] as const;
    for (const agent of agents) agent.say({ ack: { revision: agent.last?.revision ?? 0 } });
    await w.pass();
    for (const agent of agents) agent.say({ ack: { revision: agent.last?.revision ?? 0 } });
    await w.pass();
    return agents;
  }

  it('is released when every node has acknowledged its leaving', async () => {
    const w = await world(web());
    const [n1, n2] = await settled(w);
    w.cluster.edit('task', 'web.1', { desired: 'shutdown' });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(false);
    n1.say({ ack: { revision: n1.last?.revision ?? 0 } });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(false);
    n2.say({ ack: { revision: n2.last?.revision ?? 0 } });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(true);
  });

  it('waits no longer than two seconds for a node that does not answer', async () => {
    const w = await world(web());
    const [n1] = await settled(w);
    w.cluster.edit('task', 'web.1', { desired: 'shutdown' });
    await w.pass();
    n1.say({ ack: { revision: n1.last?.revision ?? 0 } });
    await w.pass(1_900);
    expect(released(n1, 'web.1')).toBe(false);
    await w.pass(200);
    expect(released(n1, 'web.1')).toBe(true);
  });

  it('does not wait for a node whose session has ended', async () => {
    const w = await world(web());
    const [n1, n2] = await settled(w);
    w.cluster.edit('task', 'web.1', { desired: 'shutdown' });
    await w.pass();
    n2.leave();
    await w.pass();
    n1.say({ ack: { revision: n1.last?.revision ?? 0 } });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(true);
  });

  it('waits for the nodes of the reign before until they come back, at most two seconds', async () => {
    const builder = web().edit('task', 'web.1', { desired: 'shutdown' });
    builder.edit('node-status', 'n1', { state: 'ready' }).edit('node-status', 'n2', { state: 'ready' });
    const w = await world(builder);
    const n1 = await w.register('n1');
    n1.say({ ack: { revision: n1.last?.revision ?? 0 } });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(false);
    const n2 = await w.register('n2');
    for (const agent of [n1, n2]) agent.say({ ack: { revision: agent.last?.revision ?? 0 } });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(true);
  });

  it('goes at once when nothing is published', async () => {
    const w = await world(
      cluster(2)
        .service('job')
        .task('job.1', { node: 'n1', ...running }),
    );
    const [n1] = await settled(w);
    w.cluster.edit('task', 'job.1', { desired: 'shutdown' });
    await w.pass();
    expect(released(n1, 'job.1')).toBe(true);
  });

  it('goes at once under the test switch', async () => {
    const w = await world(web(), true);
    const [n1] = await settled(w);
    w.cluster.edit('task', 'web.1', { desired: 'shutdown' });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(true);
  });
});
