/** Containers without a service on the real core: their lives, and what another agent finds of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ContainerEngine } from '../../../agent/engine/engine.ts';
import type { Standalone } from '../../../agent/engine/standalone.ts';
import { EngineWorld, eventually } from '../../support/engine-world.ts';
import { aTemplate } from '../../support/fixtures.ts';
import { forever } from '../../support/native-world.ts';

let own: EngineWorld;

beforeAll(() => {
  own = new EngineWorld();
});
afterAll(() => own?.world.destroy());
beforeEach(() => own.begin());
afterEach(() => own.end());

const ended = (box: Standalone) => box.wait(forever);

describe('a container of no service', () => {
  it('tells its end, keeps its files, and goes with everything', async () => {
    const box = await own.run('echo more >> /data/log; wc -l < /data/log > /data/lines; exit 4');
    expect(await ended(box)).toEqual({ code: 4, error: '' });
    await box.start(forever);
    await ended(box);
    const { path } = await own.world.runtime.writable(box.record.id);
    expect(readFileSync(join(path, 'data', 'lines'), 'utf8').trim()).toBe('2');
    await box.remove({ force: false });
    expect(own.engine.all).toEqual([]);
    await expect(own.world.runtime.writable(box.record.id)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('tells who is attached from the start its end, though it says nothing and ends at once', async () => {
    for (let times = 0; times < 5; times += 1) {
      const box = await own.engine.create(`${times}`.padStart(64, 'a'), own.spec('exit 3'), forever);
      const session = await box.start(forever, { types: false });
      const said: unknown[] = [];
      for await (const chunk of session?.output ?? []) said.push(chunk);
      expect(said).toEqual([]);
      expect(await session?.ended).toBe(3);
      await box.settled(forever);
      expect(box.state).toBe('exited');
    }
  });

  it('goes with its end when it is to', async () => {
    const box = await own.run('true', { autoRemove: true });
    await ended(box);
    await expect.poll(() => own.engine.all.length).toBe(0);
  });

  it('is run again until it was given up, and counts', async () => {
    const box = await own.run('exit 3', { restart: 'on-failure', restartMax: 2 });
    await eventually(() => box.state).toBe('exited');
    expect(box.record).toMatchObject({ restarts: 2, exitCode: 3 });
  });

  it('tells who waits its next end, whatever its policy makes of that', async () => {
    const box = await own.run('test -e /data/second && exec sleep 1000; echo > /data/second; exit 3', {
      restart: 'always',
    });
    expect(await ended(box)).toMatchObject({ code: 3 });
    await eventually(() => box.state).toBe('running');
  });

  it('does not come back once it was killed between two runs, and does after another signal', async () => {
    const box = await own.run('exit 3', { restart: 'always' });
    await eventually(() => box.state).toBe('restarting');
    await box.kill('USR1');
    await eventually(() => box.record.restarts).toBeGreaterThan(1);
    await eventually(() => box.state).toBe('restarting');
    await box.kill('TERM');
    expect(['exited', 'running']).toContain(box.state);
    await eventually(() => box.state).toBe('exited');
    expect(box.record.wanted).toBe(false);
  });

  it('says why it cannot be started, and is as it was', async () => {
    const container = { ...own.spec('').template.container, entrypoint: ['/nothing'] };
    const box = await own.engine.create('f'.repeat(64), own.spec('', { template: aTemplate({ container }) }), forever);
    await expect(box.start(forever)).rejects.toMatchObject({ code: 'invalid' });
    expect(box.state).toBe('created');
    expect(box.record).toMatchObject({ exitCode: 127, error: expect.stringContaining('/nothing') });
  });

  it('is found by another agent: running, or ended meanwhile', async () => {
    const lives = await own.run('echo here > /data/here; sleep 1000');
    const ends = await own.run('read line < /data/fifo || sleep 0.2; exit 6');
    own.engine.stop();
    own.world.runtime.close();
    const runtime = own.world.newRuntime();
    const second = await own.started(runtime);
    try {
      const found = second.find(lives.record.id);
      expect(found.state).toBe('running');
      expect(found.pid).toBe(lives.pid);
      expect(await second.find(ends.record.id).wait(forever)).toMatchObject({ code: 6 });
      await found.stop({ graceMs: 0 }, forever);
      expect(found.record.exitCode).toBe(137);
    } finally {
      for (const each of second.all) await each.remove({ force: true });
      second.stop();
      runtime.close();
      own.engine = await own.started(own.world.runtime);
    }
  });
});

it('is not started while another container or a service has its port on this node', async () => {
  const port = { protocol: 'tcp', published: 8_080, target: 80, mode: 'host' } as const;
  const box = await own.engine.create(
    'c'.repeat(64),
    own.spec('sleep 1000', { ports: [port], network: 'cluster' }),
    forever,
  );
  own.held.set('8080/tcp', 'task web.1');
  try {
    const message = 'port 8080/tcp is already allocated by task web.1';
    await expect(box.start(forever)).rejects.toMatchObject({ code: 'conflict', message });
    own.held.delete('8080/tcp');
    await box.start(forever);
    const other = await own.engine.create(
      'd'.repeat(64),
      own.spec('sleep 1000', { ports: [port], network: 'cluster' }),
      forever,
    );
    const owner = `port 8080/tcp is already allocated by container ${box.record.spec.name}`;
    await expect(other.start(forever)).rejects.toMatchObject({ code: 'conflict', message: owner });
  } finally {
    own.held.clear();
  }
});

describe('another agent', () => {
  /** Lets go of everything as an agent that ends, and takes it up as the next. */
  async function next(): Promise<ContainerEngine> {
    own.engine.stop();
    own.engine = await own.started(own.world.runtime);
    return own.engine;
  }

  it('goes on with a restart that was waited for', async () => {
    const box = await own.run('busybox sleep 0.3; exit 3', { restart: 'unless-stopped' });
    await eventually(() => box.record.restarts).toBeGreaterThan(1);
    await eventually(() => box.state).toBe('running');
    // From its end on, for as long as its policy waits.
    await eventually(() => box.state).toBe('restarting');
    const again = (await next()).find(box.record.id);
    const before = again.record.restarts;
    await eventually(() => again.record.restarts).toBeGreaterThan(before);
  });

  it('starts what is to run always though a user has stopped it, and nothing else that was stopped', async () => {
    const always = await own.run('exec sleep 1000', { restart: 'always' });
    const stopped = await own.run('exec sleep 1000', { restart: 'unless-stopped' });
    const never = await own.engine.create('e'.repeat(64), own.spec('exec sleep 1000', { restart: 'always' }), forever);
    for (const box of [always, stopped]) await box.stop({ graceMs: 0 }, forever);
    const second = await next();
    await eventually(() => second.find(always.record.id).state).toBe('running');
    expect(second.find(stopped.record.id).state).toBe('exited');
    expect(second.find(never.record.id).state).toBe('created');
    expect(second.find(never.record.id).record).toEqual(never.record);
  });
});
