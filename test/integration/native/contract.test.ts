/** What every runtime does alike: the kernel's, and the one that unit tests of the agent put in its place. */
import { constants } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Container, Runtime } from '../../../agent/runtime/runtime.ts';
import { forever } from '../../support/native-world.ts';
import { type Behaviour, fakeSubject, nativeSubject, type RuntimeSubject } from '../../support/runtime-subject.ts';

const { SIGTERM, SIGKILL } = constants.signals;
const GRACE = { stopSignal: 'SIGTERM', graceMs: 20_000 };
const SHORT_GRACE = { stopSignal: 'SIGTERM', graceMs: 50 };
const KILLED = { code: null, signal: SIGKILL, oomKilled: false };

describe.each([
  ['the native runtime', nativeSubject],
  ['the fake of unit tests', fakeSubject],
] as const)('%s', (_name, make) => {
  let subject: RuntimeSubject;
  let runtime: Runtime;
  let made = 0;
  beforeAll(() => {
    subject = make();
    runtime = subject.runtime;
  });
  afterAll(() => subject.destroy());

  const freshId = (): string => {
    made += 1;
    return `c${made}`;
  };
  const created = (behaviour?: Behaviour) => runtime.create(subject.request(freshId(), behaviour), forever);
  async function running(behaviour?: Behaviour): Promise<Container> {
    const container = await runtime.start((await created(behaviour)).id, forever);
    await subject.ready(container);
    return container;
  }
  async function ended(): Promise<Container> {
    const { id } = await running();
    await runtime.kill(id, SIGKILL);
    await runtime.wait(id, forever);
    return listed(id) as Promise<Container>;
  }
  const listed = async (id: string) => (await runtime.list(forever)).find((each) => each.id === id);
  /** The code of what a call rejects with. One that throws instead fails the test. */
  const codeOf = (call: () => Promise<unknown>) =>
    call().then(
      () => 'none',
      (cause: { readonly code?: string }) => cause.code,
    );

  it('creates a container that waits, with an identity and its labels', async () => {
    const container = await created();
    expect(container).toMatchObject({ state: 'created', run: 1, pastRuns: [], labels: { who: container.id } });
    expect(container.pid).toBeGreaterThan(0);
    expect(container.netnsPath).toBe(`/proc/${container.pid}/ns/net`);
    expect(container.exit).toBeUndefined();
    expect(await listed(container.id)).toEqual(container);
  });

  it('refuses an id that is taken or is none', async () => {
    const { id } = await created();
    expect(await codeOf(() => runtime.create(subject.request(id), forever))).toBe('exists');
    for (const bad of ['', 'Upper', '.x', 'a/b', 'x'.repeat(65)])
      expect(await codeOf(() => runtime.create(subject.request(bad), forever)), bad).toBe('invalid');
  });

  it('makes and starts nothing for somebody who has given up', async () => {
    const id = freshId();
    const reason = new Error('given up');
    await expect(runtime.create(subject.request(id), AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await listed(id)).toBeUndefined();
    const waiting = await created();
    await expect(runtime.start(waiting.id, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await listed(waiting.id)).toMatchObject({ state: 'created' });
  });

  it('starts what was created, as the same process', async () => {
    const before = await created();
    const after = await runtime.start(before.id, forever);
    expect(after).toEqual({ ...before, state: 'running' });
    expect(await listed(before.id)).toEqual(after);
  });

  it('does not know ids that it has not made', async () => {
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      start: () => runtime.start('nobody', forever),
      wait: () => runtime.wait('nobody', forever),
      kill: () => runtime.kill('nobody', SIGTERM),
      stop: () => runtime.stop('nobody', GRACE, forever),
      exec: () => runtime.exec('nobody', probe(), forever),
      openExec: () => runtime.openExec('nobody', wish(), forever),
      pause: () => runtime.pause('nobody'),
      resume: () => runtime.resume('nobody'),
      update: () => runtime.update('nobody', {}),
      resize: () => runtime.resize('nobody', { rows: 1, columns: 1 }),
      stats: () => runtime.stats('nobody'),
    };
    for (const [name, call] of Object.entries(calls)) {
      expect(await codeOf(call), name).toBe('not_found');
    }
    await runtime.remove('nobody');
  });

  it('tells its end to all who wait, at once when it has ended, and to the list no later', async () => {
    const { id } = await running();
    const waits = [runtime.wait(id, forever), runtime.wait(id, forever)];
    const reason = new Error('given up');
    await expect(runtime.wait(id, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(await runtime.kill(id, SIGKILL)).toBe(true);
    const exit = await waits[0];
    expect(await listed(id)).toMatchObject({ state: 'exited', exit });
    expect(exit).toMatchObject(KILLED);
    expect(exit?.finishedAt).toBeGreaterThanOrEqual(exit?.startedAt ?? Number.POSITIVE_INFINITY);
    expect(await waits[1]).toEqual(exit);
    expect(await runtime.wait(id, forever)).toEqual(exit);
  });

  it('sends signals until there is nobody to get them', async () => {
    const { id } = await running();
    expect(await runtime.kill(id, SIGTERM)).toBe(true);
    expect(await runtime.wait(id, forever)).toMatchObject({ code: 0, signal: null });
    expect(await runtime.kill(id, SIGTERM)).toBe(false);
    expect(await runtime.kill(id, SIGKILL)).toBe(false);
  });

  it('stops by the signal, by SIGKILL after the grace, and what was never started at once', async () => {
    expect(await runtime.stop((await running()).id, GRACE, forever)).toMatchObject({ code: 0, signal: null });
    expect(await runtime.stop((await running('ignores')).id, SHORT_GRACE, forever)).toMatchObject(KILLED);
    expect(await runtime.stop((await created()).id, GRACE, forever)).toMatchObject(KILLED);
    const { id, exit } = await ended();
    expect(await runtime.stop(id, GRACE, forever)).toEqual(exit);
  });

  it('gives up waiting for a stop, not the stop’s signal', async () => {
    const { id } = await running();
    const over = new AbortController();
    const stopping = runtime.stop(id, GRACE, over.signal);
    const reason = new Error('given up');
    over.abort(reason);
    await expect(stopping).rejects.toBe(reason);
    expect(await runtime.wait(id, forever)).toMatchObject({ code: 0 });
  });

  it('refuses a stop signal that is none', async () => {
    const { id } = await running();
    expect(await codeOf(() => runtime.stop(id, { stopSignal: 'SIGNONE', graceMs: 1 }, forever))).toBe('invalid');
  });

  const probe = () => ({ args: subject.probe.args, env: [], timeoutMs: 20_000, outputMaxBytes: 1_000 });
  const wish = () => ({ args: ['sleep'], env: [], privileged: false, stdin: false, detached: false });

  it('runs commands only in what runs', async () => {
    const { id } = await running();
    expect(await runtime.exec(id, probe(), forever)).toEqual(subject.probe.result);
    await runtime.pause(id);
    for (const other of [id, (await created()).id, (await ended()).id]) {
      expect(await codeOf(() => runtime.exec(other, probe(), forever))).toBe('conflict');
      expect(await codeOf(() => runtime.openExec(other, wish(), forever))).toBe('conflict');
    }
  });

  it('pauses what runs and resumes what is paused, and nothing else', async () => {
    const { id } = await running();
    expect(await codeOf(() => runtime.resume(id))).toBe('conflict');
    await runtime.pause(id);
    expect(await listed(id)).toMatchObject({ state: 'paused' });
    expect(await codeOf(() => runtime.pause(id))).toBe('conflict');
    await runtime.resume(id);
    expect(await listed(id)).toMatchObject({ state: 'running' });
    await runtime.pause(id);
    expect(await runtime.stop(id, GRACE, forever)).toMatchObject({ code: 0 });
    for (const call of [runtime.pause, runtime.resume])
      expect(await codeOf(() => call.call(runtime, id))).toBe('conflict');
  });

  it('changes limits of what lives, and the terminal’s size of what has one', async () => {
    const { id } = await running();
    await runtime.update(id, { pids: { limit: 50 } });
    expect(await codeOf(() => runtime.resize(id, { rows: 10, columns: 10 }))).toBe('invalid');
    expect((await runtime.stats(id)).pids.count).toBeGreaterThan(0);
    const gone = await ended();
    expect(await codeOf(() => runtime.update(gone.id, { pids: { limit: 50 } }))).toBe('conflict');
  });

  it('removes in every state, tells who waits that it has ended, and frees the id', async () => {
    for (const container of [await created(), await running(), await ended()]) {
      const { id } = container;
      const end = runtime.wait(id, forever);
      await runtime.remove(id);
      // How those ended that ran until then is not asked of their shims.
      expect(await end).toMatchObject({ code: null, oomKilled: false });
      expect(await listed(id)).toBeUndefined();
      expect(await codeOf(() => runtime.wait(id, forever))).toBe('not_found');
      expect(await runtime.create(subject.request(id), forever)).toMatchObject({ id, state: 'created', run: 1 });
    }
  });

  it('does not start what has ended', async () => {
    const { id } = await created();
    await runtime.kill(id, SIGKILL);
    await runtime.wait(id, forever);
    expect(await codeOf(() => runtime.start(id, forever))).not.toBe('none');
    expect(await listed(id)).toMatchObject({ state: 'exited', exit: KILLED });
  });
});
