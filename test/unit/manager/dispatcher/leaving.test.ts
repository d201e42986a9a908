import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterBuilder, cluster } from '../../../support/cluster-builder.ts';
import { type Agent, dispatching, running, type World, web } from '../../../support/dispatcher-rig.ts';

let stop = new AbortController();
beforeEach(() => {
  stop = new AbortController();
});
afterEach(() => stop.abort());
const world = (builder: ClusterBuilder, options = { skipDrain: false }) => dispatching(builder, stop.signal, options);

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

  it('waits for the ready nodes of the reign before until they come back', async () => {
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

  it('waits for a ready node of the reign before until it is held to be silent', async () => {
    const builder = web().edit('task', 'web.1', { desired: 'shutdown' });
    builder.edit('node-status', 'n1', { state: 'ready' }).edit('node-status', 'n2', { state: 'ready' });
    const w = await world(builder);
    const n1 = await w.register('n1');
    n1.say({ ack: { revision: n1.last?.revision ?? 0 } });
    await w.pass(3_000);
    expect(released(n1, 'web.1')).toBe(false);
    builder.silent('n2', 0);
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
    const w = await world(web(), { skipDrain: true });
    const [n1] = await settled(w);
    w.cluster.edit('task', 'web.1', { desired: 'shutdown' });
    await w.pass();
    expect(released(n1, 'web.1')).toBe(true);
  });
});
