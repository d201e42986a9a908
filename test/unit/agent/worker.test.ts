import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import type { TaskId } from '../../../common/model/ids.ts';
import { AgentRig, aHeld, assignments, PORT_80 } from '../../support/agent-rig.ts';

let rig: AgentRig;
beforeEach(async () => {
  rig = await AgentRig.make();
  rig.worker.contactGained();
});
afterEach(() => rig.close());

describe('a task on its node', () => {
  it('is prepared, started and reported running', async () => {
    await rig.assign(aHeld('t1'));
    expect(rig.states('t1')).toEqual(['accepted', 'preparing', 'ready', 'starting', 'running']);
    expect(rig.runtime.calls).toEqual(['create t1', 'start t1']);
    expect(rig.last('t1')).toMatchObject({ state: 'running', healthy: true, runs: [{ number: 1 }] });
  });

  it('stays ready, not started, while the manager holds it back', async () => {
    await rig.assign(aHeld('t1', { task: { desired: 'ready' } }));
    expect(rig.last('t1')?.state).toBe('ready');
    expect(rig.runtime.calls).toEqual(['create t1']);
    await rig.assign(aHeld('t1', { task: { desired: 'running' } }));
    expect(rig.last('t1')?.state).toBe('running');
  });

  it('is running only once its published port accepts a connection', async () => {
    rig.isListening = false;
    await rig.assign(aHeld('t1', { ports: [PORT_80], container: { health: { kind: 'image' } } }));
    await rig.pass(250);
    expect(rig.last('t1')?.state).toBe('starting');
    rig.isListening = true;
    await rig.pass(250);
    expect(rig.last('t1')?.state).toBe('running');
  });

  it('fails, naming the port, when it accepts no connection within the start timeout', async () => {
    rig.isListening = false;
    await rig.assign(aHeld('t1', { ports: [PORT_80], container: { health: { kind: 'image' } } }));
    for (let second = 0; second < 62; second += 1) for (let step = 0; step < 4; step += 1) await rig.pass(250);
    expect(rig.last('t1')).toMatchObject({
      state: 'failed',
      error: 'port 80/tcp did not accept connections within 1m',
    });
    expect(await rig.running()).toEqual([]);
  });

  it('is complete after exit code 0 and failed, with the code, after another', async () => {
    await rig.assign(aHeld('t1'), aHeld('t2'));
    rig.runtime.end('t1');
    rig.runtime.end('t2', { code: 3 });
    await rig.idle();
    expect(rig.last('t1')?.state).toBe('complete');
    expect(rig.last('t2')).toMatchObject({ state: 'failed', exitCode: 3, error: 'exited with code 3' });
    expect(rig.runtime.calls.filter((call) => call.startsWith('create'))).toHaveLength(2);
  });

  it('is rejected, with the path, when its command does not exist', async () => {
    rig.runtime.failNext('create', 't1', new ClusterError('invalid', 'command /bin/nope does not exist in the image'));
    await rig.assign(aHeld('t1'));
    expect(rig.last('t1')).toMatchObject({
      state: 'rejected',
      error: 'command /bin/nope does not exist in the image',
    });
  });

  it('tries again when its image cannot be had at the moment, and says so', async () => {
    rig.images.failNext('web:1', new ClusterError('unavailable', 'no manager has blob x'));
    await rig.assign(aHeld('t1'));
    expect(rig.last('t1')).toMatchObject({ state: 'preparing' });
    expect(rig.last('t1')?.message).toContain('no manager has blob x');
    await rig.pass(1_000);
    expect(rig.last('t1')?.state).toBe('running');
  });

  it('is shut down at once when it was never started', async () => {
    await rig.assign(aHeld('t1', { task: { desired: 'ready' } }));
    await rig.assign(aHeld('t1', { task: { desired: 'shutdown', because: 'scaled down' } }));
    expect(rig.last('t1')).toMatchObject({ state: 'shutdown', message: 'scaled down' });
    expect(rig.runtime.calls).toEqual(['create t1', 'remove t1']);
  });

  it('gives up a pull when it is to go', async () => {
    rig.images.hold('web:1');
    await rig.assign(aHeld('t1'));
    await rig.assign(aHeld('t1', { task: { desired: 'shutdown' } }));
    expect(rig.last('t1')?.state).toBe('shutdown');
    expect(rig.runtime.calls).toEqual([]);
  });
});

describe('the container of a task', () => {
  it('is there from its creation, however it ends, until it is removed', async () => {
    expect(rig.worker.containerOf('t1' as TaskId)).toBeUndefined();
    const release = rig.runtime.hold('create', 't1');
    await rig.assign(aHeld('t1'));
    expect(rig.worker.containerOf('t1' as TaskId)).toBeUndefined();
    release();
    await rig.idle();
    expect(rig.worker.containerOf('t1' as TaskId)).toBe('t1');
    rig.runtime.end('t1', { code: 3 });
    await rig.idle();
    expect(rig.worker.containerOf('t1' as TaskId)).toBe('t1');
    await rig.worker.apply(assignments({ from: 1, revision: 2, complete: false, goneTasks: ['t1'] }));
    await rig.idle();
    expect(rig.worker.containerOf('t1' as TaskId)).toBeUndefined();
  });
});

describe('a task that leaves', () => {
  const serving = { ports: [PORT_80], container: { drainMs: 5_000 } };

  it('waits until every node has it out of its maps, then for its connections, then gets the stop signal', async () => {
    await rig.assign(aHeld('t1', serving));
    rig.network.connections.set('10.64.0.5', 2);
    await rig.assign(aHeld('t1', { ...serving, task: { desired: 'shutdown' } }));
    await rig.pass(60_000);
    expect(await rig.running()).toEqual(['t1']);
    await rig.assign(aHeld('t1', { ...serving, task: { desired: 'shutdown' }, released: true }));
    await rig.pass(1_000);
    expect(await rig.running()).toEqual(['t1']);
    rig.network.connections.set('10.64.0.5', 0);
    await rig.pass(25);
    expect(rig.last('t1')?.state).toBe('shutdown');
    expect(rig.network.calls.filter((call) => call.includes('t1'))).toEqual([
      expect.stringMatching(/^attach t1 10.64.0.5 pid/),
      'withdraw t1',
      'detach t1',
    ]);
  });

  it('is stopped when its drain time is over, whatever is still open', async () => {
    await rig.assign(aHeld('t1', serving));
    rig.network.connections.set('10.64.0.5', 2);
    await rig.assign(aHeld('t1', { ...serving, task: { desired: 'shutdown' }, released: true }));
    await rig.pass(4_999);
    expect(await rig.running()).toEqual(['t1']);
    await rig.pass(1);
    expect(rig.last('t1')?.state).toBe('shutdown');
  });

  it('goes on after two seconds without a manager', async () => {
    await rig.assign(aHeld('t1', serving));
    await rig.assign(aHeld('t1', { ...serving, task: { desired: 'shutdown' } }));
    rig.worker.contactLost();
    await rig.pass(1_999);
    expect(await rig.running()).toEqual(['t1']);
    await rig.pass(1);
    expect(rig.last('t1')?.state).toBe('shutdown');
  });

  it('is stopped at once when it publishes nothing and nobody is connected', async () => {
    await rig.assign(aHeld('t1', { container: { drainMs: 5_000 } }));
    await rig.assign(aHeld('t1', { container: { drainMs: 5_000 }, task: { desired: 'shutdown' } }));
    expect(rig.last('t1')?.state).toBe('shutdown');
  });
});

describe('health', () => {
  const check = {
    test: ['CMD', '/check'],
    intervalMs: 1_000,
    timeoutMs: 500,
    retries: 2,
    startPeriodMs: 0,
    startIntervalMs: 1_000,
  };

  it('first takes an unhealthy task out of the load balancer, then ends it with the last output', async () => {
    await rig.assign(aHeld('t1', { container: { health: { kind: 'command', check } } }));
    expect(rig.last('t1')?.state).toBe('starting');
    await rig.pass(1_000);
    expect(rig.last('t1')?.state).toBe('running');
    rig.runtime.onExec(() => ({ exitCode: 1, output: 'disk broken\n', timedOut: false }));
    await rig.pass(1_000);
    await rig.pass(1_000);
    const ends = rig.said.filter((status) => status.state === 'failed' || !status.healthy).slice(-2);
    expect(ends[0]).toMatchObject({ state: 'running', healthy: false });
    expect(ends[1]).toMatchObject({ state: 'failed', error: 'unhealthy: disk broken' });
    expect(await rig.running()).toEqual([]);
  });
});

describe('what the worker takes from managers', () => {
  it('removes tasks that a complete assignment does not list', async () => {
    await rig.assign(aHeld('t1'), aHeld('t2'));
    await rig.assign(aHeld('t2'));
    expect(await rig.running()).toEqual(['t2']);
    expect(rig.worker.size).toBe(1);
  });

  it('refuses a change that does not follow on what it knows', async () => {
    await rig.assign(aHeld('t1'));
    await expect(rig.worker.apply(assignments({ complete: false, from: 5, revision: 6 }))).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await rig.worker.apply(assignments({ complete: false, from: 1, revision: 2 }))).toBe(2);
  });

  it('refuses an older epoch, also after a restart', async () => {
    const news = (reign: number) => ({ epoch: { incarnation: 1, reign }, managers: ['m:1'], failoverAfterMs: 15_000 });
    await rig.worker.learn(news(7));
    await expect(rig.worker.learn(news(6))).rejects.toMatchObject({ code: 'conflict' });
    await rig.restart();
    await expect(rig.worker.learn(news(6))).rejects.toMatchObject({ code: 'conflict' });
    expect(rig.worker.managers).toEqual(['m:1']);
  });

  it('applies the load balancer from disk when it starts without a manager', async () => {
    const port = {
      key: 'tcp/8080',
      protocol: 'tcp',
      published: 8080,
      backends: [{ taskId: 't9', address: '10.64.1.2', target: 80 }],
    };
    await rig.worker.apply(assignments({ ports: [port] }));
    await rig.network.applyPorts([]);
    await rig.restart();
    expect(rig.network.backendsOf('tcp/8080')).toEqual(['t9']);
  });
});

describe('a restart of the agent', () => {
  it('continues with the same containers and starts none', async () => {
    await rig.assign(aHeld('t1'));
    const { pid } = rig.last('t1') ?? {};
    rig.runtime.calls.length = 0;
    await rig.restart();
    await rig.worker.apply(assignments({ held: [aHeld('t1')] }));
    await rig.idle();
    expect(rig.runtime.calls).toEqual([]);
    expect(rig.worker.statuses).toEqual([expect.objectContaining({ state: 'running', pid })]);
    expect(rig.network.attached).toEqual([expect.objectContaining({ taskId: 't1' })]);
  });

  it('reports an exit that happened meanwhile', async () => {
    await rig.assign(aHeld('t1'));
    await rig.worker.stop();
    rig.runtime.end('t1', { code: 4 });
    await rig.restart();
    rig.worker.contactGained();
    await rig.idle();
    expect(rig.last('t1')).toMatchObject({ state: 'failed', exitCode: 4 });
  });

  it('tells the runs that a container was given meanwhile, and lets it prove itself anew', async () => {
    await rig.assign(aHeld('t1', { ports: [PORT_80], container: { health: { kind: 'image' } } }));
    expect(rig.last('t1')).toMatchObject({ state: 'running', healthy: true, runs: [{ number: 1 }] });
    await rig.worker.stop();
    rig.runtime.runAgain('t1', 9);
    rig.runtime.runAgain('t1', 7);
    rig.isListening = false;
    rig.clock.advance(3_600_000);
    await rig.restart();
    rig.worker.contactGained();
    await rig.idle();
    const runs = [{ number: 1, exitCode: 9 }, { number: 2, exitCode: 7 }, { number: 3 }];
    expect(rig.last('t1')).toMatchObject({ state: 'running', healthy: false, runs });
    rig.isListening = true;
    await rig.pass(1_000);
    expect(rig.last('t1')).toMatchObject({ state: 'running', healthy: true, runs });
    // Its next death is the manager's to follow up.
    rig.runtime.end('t1', { code: 1 });
    await rig.idle();
    expect(rig.last('t1')).toMatchObject({ state: 'failed', exitCode: 1, runs: [{}, {}, { number: 3, exitCode: 1 }] });
  });

  it('goes on with runs of its own after those of a shim', async () => {
    await rig.assign(
      aHeld('t1', { template: { restart: { condition: 'any', delayMs: 100, maxAttempts: 0, windowMs: 0 } } }),
    );
    await rig.worker.stop();
    rig.runtime.runAgain('t1', 9);
    await rig.restart();
    expect(rig.worker.containerOf('t1' as TaskId)).toBe('t1');
    rig.runtime.end('t1', { code: 1 });
    await rig.pass(60_000);
    expect(await rig.running()).toEqual(['t1.3']);
    expect(rig.worker.containerOf('t1' as TaskId)).toBe('t1.3');
    await rig.restart();
    expect(rig.worker.containerOf('t1' as TaskId)).toBe('t1.3');
    expect(rig.last('t1')).toMatchObject({ state: 'running', runs: [{ number: 1 }, { number: 2 }, { number: 3 }] });
  });

  it('removes containers that no task owns only after a manager has said what belongs here', async () => {
    const labels = { 'covey.task': 'stray', 'covey.run': '1' };
    await rig.runtime.create({ id: 'stray', labels } as never, new AbortController().signal);
    await rig.restart();
    expect(rig.runtime.calls).not.toContain('remove stray');
    await rig.assign();
    expect(rig.runtime.calls).toContain('remove stray');
  });

  it('says that a container is gone after a reboot, and adopts nothing', async () => {
    await rig.assign(aHeld('t1'));
    await rig.worker.stop();
    await rig.runtime.remove('t1');
    rig.runtime.calls.length = 0;
    await rig.restart();
    rig.worker.contactGained();
    await rig.idle();
    expect(rig.last('t1')?.state).toBe('failed');
    expect(rig.last('t1')?.error).toContain('the host was restarted');
    expect(rig.runtime.calls).toEqual([]);
  });
});

describe('without a manager', () => {
  it('runs a dead task again after a third of the failover time and reports the runs', async () => {
    await rig.assign(
      aHeld('t1', { template: { restart: { condition: 'any', delayMs: 100, maxAttempts: 0, windowMs: 0 } } }),
    );
    rig.worker.contactLost();
    rig.runtime.end('t1', { code: 1 });
    await rig.pass(4_999);
    expect(await rig.running()).toEqual([]);
    expect(rig.last('t1')).toMatchObject({ state: 'running', healthy: false });
    await rig.pass(1);
    expect(await rig.running()).toEqual(['t1.2']);
    expect(rig.last('t1')).toMatchObject({
      state: 'running',
      healthy: true,
      runs: [{ number: 1, exitCode: 1 }, { number: 2 }],
    });
  });

  it('leaves the decision to the manager when it comes back in time', async () => {
    await rig.assign(aHeld('t1'));
    rig.worker.contactLost();
    rig.runtime.end('t1', { code: 1 });
    await rig.pass(3_000);
    rig.worker.contactGained();
    await rig.pass(60_000);
    expect(rig.last('t1')).toMatchObject({ state: 'failed', exitCode: 1 });
    expect(rig.runtime.calls).toEqual(['create t1', 'start t1']);
  });

  it('keeps to the restart budget that came with the task', async () => {
    const restart = { condition: 'any', delayMs: 0, maxAttempts: 2, windowMs: 0 } as const;
    const task = { restarts: { total: 1, recent: [], streak: 0 } };
    await rig.assign(aHeld('t1', { task, template: { restart } }));
    rig.worker.contactLost();
    rig.runtime.end('t1', { code: 1 });
    await rig.pass(5_000);
    rig.runtime.end('t1.2', { code: 1 });
    await rig.pass(60_000);
    expect(await rig.running()).toEqual([]);
    expect(rig.last('t1')?.state).toBe('failed');
  });

  it('stops no healthy container, however long it lasts', async () => {
    await rig.assign(aHeld('t1', { ports: [PORT_80] }));
    rig.worker.contactLost();
    await rig.pass(24 * 3_600_000);
    expect(await rig.running()).toEqual(['t1']);
  });
});
