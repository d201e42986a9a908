import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { execHandler } from '../../../agent/exec/handler.ts';
import { IdentityKeeper } from '../../../agent/identity.ts';
import { LogPublisher } from '../../../agent/logs/publisher.ts';
import { Relays } from '../../../agent/relay/relays.ts';
import { SelfTest } from '../../../agent/self-test.ts';
import { AgentSession } from '../../../agent/session.ts';
import { AgentState } from '../../../agent/state.ts';
import { Worker } from '../../../agent/worker.ts';
import { type Clock, systemClock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { Scope } from '../../../common/lifecycle.ts';
import { noLog } from '../../../common/log.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import { rpcChannel } from '../../../common/rpc.ts';
import { expiryOf, type Identity } from '../../../common/tls/identity.ts';
import type { Engine } from '../../../proto/methods.ts';
import type { Handlers } from '../../../proto/rpc.ts';
import { aHeld, assignments } from '../../support/agent-rig.ts';
import { FakeImages } from '../../support/fake-images.ts';
import { FakeNetwork } from '../../support/fake-network.ts';
import { FakeRuntime } from '../../support/fake-runtime.ts';
import { aDescription } from '../../support/fixtures.ts';
import { aCa, anIdentity, ScriptedManager } from '../../support/scripted-manager.ts';
import { until } from '../../support/until.ts';

const ca = await aCa();
let shiftMs = 0;
const clock: Clock = { ...systemClock, now: () => Date.now() + shiftMs };

/** An agent process: session, worker and what they need, over a runtime that outlives it. */
class Agent {
  readonly scope = new Scope('agent');
  readonly worker: Worker;
  readonly selfTest: SelfTest;
  readonly identity: IdentityKeeper;

  private constructor(host: Host, identity: Identity) {
    this.worker = new Worker({
      nodeId: 'n1' as NodeId,
      address: '192.0.2.1',
      runtime: host.runtime,
      images: new FakeImages(),
      network: host.network,
      state: new AgentState(host.dir, noLog),
      clock,
      log: noLog,
      filesFor: () => Promise.resolve([]),
      connects: () => Promise.resolve(true),
    });
    this.selfTest = new SelfTest({
      stateDir: host.dir,
      runtime: host.runtime,
      network: host.network,
      clock,
      log: noLog,
      disk: { check: async () => '' },
    });
    this.identity = new IdentityKeeper(join(host.dir, 'identity.json'), identity, {
      clock,
      log: noLog,
      dial: rpcChannel,
      random: Math.random,
      anyManager: () => identity.managers[0],
    });
  }

  static async start(host: Host, identity: Identity): Promise<Agent> {
    const agent = new Agent(host, identity);
    const { scope, worker } = agent;
    await worker.start(scope.signal);
    const session = new AgentSession({
      holdings: undefined,
      standalone: { ids: [], onGone: () => () => {} },
      worker,
      identity: agent.identity,
      selfTest: agent.selfTest,
      logs: new LogPublisher({ runtime: host.runtime, isOver: (id) => worker.isOver(id), clock, log: noLog }),
      relays: new Relays(
        {
          exec: execHandler({
            runtime: host.runtime,
            containerOf: (id) => worker.containerOf(id),
            standalone: (id) => id,
          }),
        } as Handlers<typeof Engine>,
        noLog,
      ),
      describe: () => aDescription('host1'),
      dial: rpcChannel,
      clock,
      log: noLog,
      random: Math.random,
    });
    scope.own('worker', worker, (each) => each.stop());
    scope.run('session', (signal) => session.run(signal));
    return agent;
  }

  stop(): Promise<void> {
    return this.scope.close();
  }
}

interface Host {
  readonly dir: string;
  readonly runtime: FakeRuntime;
  readonly network: FakeNetwork;
}

let host: Host;
let manager: ScriptedManager;
let agents: Agent[];

async function startAgent(identity?: Identity): Promise<Agent> {
  const agent = await Agent.start(host, identity ?? (await anIdentity(ca, [manager.address])));
  agents.push(agent);
  return agent;
}

beforeEach(async () => {
  shiftMs = 0;
  agents = [];
  host = {
    dir: await mkdtemp(join(tmpdir(), 'covey-session-')),
    runtime: new FakeRuntime(clock),
    network: new FakeNetwork(),
  };
  manager = await ScriptedManager.listen(ca);
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  await manager.close();
  await rm(host.dir, { recursive: true, force: true });
});

describe('a session', () => {
  it('says who the host is, reports what happens and acknowledges what the network stands at', async () => {
    await startAgent();
    const session = await manager.session();
    const hello = await session.hears((message) => message.hello);
    expect(hello.description).toMatchObject({ hostname: 'host1', address: '192.0.2.1' });
    session.welcome();
    session.send({ assignments: assignments({ held: [aHeld('t1')], revision: 7 }) });
    expect(await session.hears((message) => message.ack)).toMatchObject({ revision: 7 });
    expect(await session.hearsState('t1', 'running')).toMatchObject({ healthy: true, pid: 1_000 });
  });

  it('begins anew, complete, when a change does not follow on what the agent has', async () => {
    await startAgent();
    const first = await manager.session();
    first.welcome();
    first.send({ assignments: assignments({ held: [aHeld('t1')], revision: 7 }) });
    await first.hearsState('t1', 'running');
    first.send({ assignments: assignments({ complete: false, from: 9, revision: 10 }) });
    const second = await manager.session();
    second.welcome();
    expect(await second.hearsState('t1', 'running')).toBeTruthy();
    second.send({ assignments: assignments({ held: [aHeld('t1')], revision: 10 }) });
    expect(await second.hears((message) => message.ack)).toMatchObject({ revision: 10 });
    expect(host.runtime.calls).toEqual(['create t1', 'start t1']);
  });

  it('is ended by the agent when the manager is one that was deposed', async () => {
    await startAgent();
    const first = await manager.session();
    first.welcome(5);
    first.send({ assignments: { ...assignments({ held: [aHeld('t1')] }), epoch: { incarnation: 1, reign: 5 } } });
    await first.hearsState('t1', 'running');
    first.outgoing.end();
    const deposed = await manager.session();
    deposed.welcome(4);
    deposed.send({ assignments: { ...assignments({}), epoch: { incarnation: 1, reign: 4 } } });
    const next = await manager.session();
    expect(await next.hears((message) => message.hello?.epoch)).toMatchObject({ incarnation: 1, reign: 5 });
    expect(deposed.said.some((message) => message.ack !== null && message.ack !== undefined)).toBe(false);
    expect(host.runtime.ids).toEqual(['t1']);
  });

  it('is sought with the leader that another manager names', async () => {
    const follower = await ScriptedManager.listen(ca);
    try {
      follower.refusal = new ClusterError('unavailable', 'this manager does not lead', {
        hint: `ask the leader at ${manager.address}`,
      });
      await startAgent(await anIdentity(ca, [follower.address]));
      const session = await manager.session();
      expect(await session.hears((message) => message.hello)).toBeTruthy();
    } finally {
      await follower.close();
    }
  });

  it('tells the manager when the host becomes unfit, and when it is well again', async () => {
    const agent = await startAgent();
    const session = await manager.session();
    session.welcome();
    await session.hears((message) => message.hello);
    host.network.obstacle = 'table "filter" drops what is forwarded';
    await agent.selfTest.check(agent.scope.signal);
    await session.hears((message) => message.node?.unfit === host.network.obstacle);
    host.network.obstacle = '';
    await agent.selfTest.check(agent.scope.signal);
    await session.hears((message) => message.node?.unfit === '');
  });
});

describe('containers', () => {
  it('run on while no manager is there, and are reported again when one is', async () => {
    await startAgent();
    const first = await manager.session();
    first.welcome();
    first.send({ assignments: assignments({ held: [aHeld('t1')] }) });
    await first.hearsState('t1', 'running');
    const { port } = manager;
    await manager.close();
    manager = await ScriptedManager.listen(ca, port);
    const second = await manager.session();
    second.welcome(2);
    expect(await second.hearsState('t1', 'running')).toMatchObject({ pid: 1_000 });
    expect(host.runtime.calls).toEqual(['create t1', 'start t1']);
  });

  it('are the same ones after the agent was replaced by another process', async () => {
    const agent = await startAgent();
    const first = await manager.session();
    first.welcome();
    first.send({ assignments: assignments({ held: [aHeld('t1')] }) });
    await first.hearsState('t1', 'running');
    await agent.stop();
    agents = [];
    await startAgent();
    const second = await manager.session();
    second.welcome();
    expect(await second.hearsState('t1', 'running')).toMatchObject({ pid: 1_000 });
    second.send({ assignments: assignments({ held: [aHeld('t1')] }) });
    await second.hears((message) => message.ack);
    expect(host.runtime.calls).toEqual(['create t1', 'start t1']);
  });

  it('are let go once the cluster has said for a while that the node was removed', async () => {
    const agent = await startAgent();
    const session = await manager.session();
    session.welcome();
    session.send({ assignments: assignments({ held: [aHeld('t1')] }) });
    await session.hearsState('t1', 'running');
    manager.refusal = new ClusterError('denied', 'node "n1" is not in the cluster', { field: 'node' });
    session.outgoing.end();
    await until('nothing is left of the task', 5_000, () => {
      shiftMs += 20_000;
      return agent.worker.size === 0;
    });
    expect(host.runtime.ids).toEqual([]);
  });
});

describe('a certificate', () => {
  it('is renewed in its time, and the session goes on', async () => {
    const identity = await anIdentity(ca, [manager.address], 2_000);
    const agent = await startAgent(identity);
    const session = await manager.session();
    session.welcome();
    await session.hears((message) => message.hello);
    shiftMs = 1_900;
    agent.scope.run('certificate', (signal) => agent.identity.run(signal));
    const renewed = await session.hears((message) => (message.node?.certificateExpiresAt ?? 0) > Date.now() + 60_000);
    expect(renewed).toBe(true);
    expect(agent.identity.expiresAt).toBeGreaterThan(expiryOf(identity));
    session.send({ assignments: assignments({ revision: 3 }) });
    expect(await session.hears((message) => message.ack)).toMatchObject({ revision: 3 });
  });
});

describe('logs', () => {
  it('are followed across a rotation, each line once, until the manager wants no more', async () => {
    const path = join(host.dir, 'log');
    const line = (n: number) => `2026-11-21T10:00:00.${String(n).padStart(9, '0')}Z stdout F line ${n}\n`;
    await writeFile(path, line(1) + line(2));
    await startAgent();
    const session = await manager.session();
    session.welcome();
    session.send({ assignments: assignments({ held: [aHeld('t0'), aHeld('t1')] }) });
    await session.hearsState('t1', 'running');
    host.runtime.relocateLog('t1', path);
    session.send({ logs: { id: 'r1', tasks: ['t0', 't1'], follow: true, tail: -1, since: 0 } });
    await until('two lines have come', 5_000, async () => manager.lines.length === 2);
    await appendFile(path, line(3));
    await rename(path, `${path}.1`);
    await appendFile(`${path}.1`, line(4));
    await writeFile(path, line(5));
    await until('five lines have come', 5_000, async () => manager.lines.length === 5);
    const texts = manager.lines.map((each) => Buffer.from(each.text ?? '').toString());
    expect(texts).toEqual(['line 1', 'line 2', 'line 3', 'line 4', 'line 5']);
    session.send({ logsEnd: { id: 'r1' } });
  });
});
