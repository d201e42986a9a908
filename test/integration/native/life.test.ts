import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { native } from '../../../native/index.ts';
import { forever, isUnified, NativeWorld, outputOf, until } from '../../support/native-world.ts';

const { SIGKILL, SIGTERM, SIGUSR1 } = constants.signals;

let world: NativeWorld;
beforeAll(() => {
  world = new NativeWorld();
});
afterAll(() => world.destroy());

/** Processes of it that are not yet reaped count. */
function cgroupMembers({ id }: { readonly id: string }): number {
  const folder = native().cgroupFolder('pids', `${world.cgroupParent}/${id}`);
  return readFileSync(`${folder}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).length;
}

describe('the end of a container', () => {
  it.each([0, 1, 7, 255])('is recorded with exit code %i', async (code) => {
    const { exit } = await world.ran(['exit', String(code)]);
    expect(exit).toMatchObject({ code, signal: null, oomKilled: false });
    expect(exit.finishedAt).toBeGreaterThanOrEqual(exit.startedAt);
  });

  it('is recorded with the signal that caused it', async () => {
    const container = await world.started(['sleep']);
    expect(await world.runtime.kill(container.id, SIGKILL)).toBe(true);
    expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: null, signal: SIGKILL });
    expect(await world.runtime.kill(container.id, SIGKILL)).toBe(false);
  });

  it('takes every process of the container along', async () => {
    const container = await world.started(['fork', '20']);
    await world.said(container, 'alive=20');
    expect((await world.runtime.stats(container.id)).pids.count).toBe(21);
    await world.runtime.kill(container.id, SIGKILL);
    await world.runtime.wait(container.id, forever);
    expect((await world.runtime.stats(container.id)).pids.count).toBe(0);
  });

  it('is told to everyone who waits, also afterwards', async () => {
    const container = await world.started(['sleep']);
    const first = world.runtime.wait(container.id, forever);
    await world.said(container, 'ready');
    await world.runtime.kill(container.id, SIGTERM);
    const [a, b] = [await first, await world.runtime.wait(container.id, forever)];
    expect(a).toEqual(b);
    expect(a.code).toBe(0);
  });

  it('leaves a waiter alone who has given up', async () => {
    const container = await world.started(['sleep']);
    const abort = new AbortController();
    const waiting = world.runtime.wait(container.id, abort.signal);
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(native().processAlive(container.pid, container.startTime)).toBe(true);
  });
});

describe('a signal to a whole container', () => {
  it('reaches its first process and all that it has started', async () => {
    const container = await world.started(['fork', '5']);
    await world.said(container, 'alive=5');
    const cgroup = `${world.cgroupParent}/${container.id}`;
    await expect(native().cgroupSignal(cgroup, 500)).rejects.toMatchObject({ code: 'EINVAL', syscall: 'kill' });
    expect((await world.runtime.stats(container.id)).pids.count).toBe(6);
    // Nobody has a handler: it ends the children, and the first process of a pid namespace is spared by the kernel.
    await native().cgroupSignal(cgroup, SIGUSR1);
    await until(() => cgroupMembers(container) === 1, 'its children have ended');
    await native().cgroupSignal(cgroup, SIGTERM);
    expect(await world.runtime.wait(container.id, forever)).toMatchObject({ code: 0, signal: null });
    await native().cgroupSignal(`${world.cgroupParent}/nobody`, SIGTERM);
  });
});

describe('a checkpoint', () => {
  it('is refused, and the container goes on', async () => {
    const container = await world.started(['sleep']);
    await expect(native().containerCheckpoint(join(world.folder, 'state', container.id))).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
      syscall: 'checkpoint',
      path: join(world.folder, 'state', container.id),
      message: expect.stringContaining('stop it and start it again'),
    });
    expect(native().processAlive(container.pid, container.startTime)).toBe(true);
  });
});

describe('stopping', () => {
  it('lets a container end by itself on its stop signal', async () => {
    const container = await world.started(['sleep']);
    await world.said(container, 'ready');
    const exit = await world.runtime.stop(container.id, { stopSignal: 'TERM', graceMs: 10_000 }, forever);
    expect(exit).toMatchObject({ code: 0, signal: null });
  });

  it('kills a container that ignores it, after the grace', async () => {
    const container = await world.started(['stubborn']);
    await world.said(container, 'ready');
    const exit = await world.runtime.stop(container.id, { stopSignal: '', graceMs: 50 }, forever);
    expect(exit).toMatchObject({ code: null, signal: SIGKILL });
  });

  it('ends a container at once that was never started', async () => {
    const { id } = await world.runtime.create(world.request(['sleep']), forever);
    const exit = await world.runtime.stop(id, { stopSignal: '', graceMs: 60_000 }, forever);
    expect(exit.signal).toBe(SIGKILL);
  });
});

describe('a command that cannot run', () => {
  it('is refused at creation with its path when the image lacks it', async () => {
    const image = { entrypoint: ['/bin/absent'] };
    await expect(world.runtime.create(world.request([], { image }), forever)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('"/bin/absent" does not exist'),
    });
  });

  it('is looked for on the PATH of the container', async () => {
    const image = { entrypoint: ['init'], env: ['PATH=/nowhere:/bin'] };
    expect((await world.ran(['exit', '3'], { image })).exit.code).toBe(3);
    const wrong = { entrypoint: ['init'], env: ['PATH=/nowhere'] };
    await expect(world.ran([], { image: wrong })).rejects.toMatchObject({ message: expect.stringContaining('"init"') });
  });

  it('is refused when it is no program, and has then ended with 127', async () => {
    writeFileSync(join(world.layer, 'bin', 'text'), 'not a program');
    chmodSync(join(world.layer, 'bin', 'text'), 0o755);
    const { id } = await world.runtime.create(world.request([], { image: { entrypoint: ['/bin/text'] } }), forever);
    await expect(world.runtime.start(id, forever)).rejects.toMatchObject({ code: 'invalid' });
    expect(await world.runtime.wait(id, forever)).toMatchObject({ code: 127 });
  });

  it('is refused when it is not executable', async () => {
    writeFileSync(join(world.layer, 'bin', 'plain'), '', { mode: 0o644 });
    const image = { entrypoint: ['/bin/plain'] };
    await expect(world.ran([], { image })).rejects.toMatchObject({
      message: expect.stringContaining('not executable'),
    });
  });

  it('leaves nothing behind when it is refused', async () => {
    const request = world.request([], { image: { entrypoint: ['/bin/absent'] } });
    await expect(world.runtime.create(request, forever)).rejects.toThrow();
    expect((await world.runtime.list(forever)).map((c) => c.id)).not.toContain(request.id);
    expect(await native().cgroupList(world.cgroupParent)).not.toContain(request.id);
  });
});

describe('a command inside a running container', () => {
  it('sees what the container sees and reports its end', async () => {
    const container = await world.started(['sleep']);
    const request = { args: ['/bin/init', 'report'], env: ['X=1'], timeoutMs: 10_000, outputMaxBytes: 65_536 };
    const result = await world.runtime.exec(container.id, request, forever);
    expect(result).toMatchObject({ exitCode: 0, timedOut: false });
    expect(result.output).toContain('hostname=test-host\n');
    expect(result.output).toContain('CapEff=00000000a80425fb\n');
    expect(result.output).toContain('NoNewPrivs=1\n');
    expect(result.output).not.toContain('fd.3=');
    expect(Number(/^pid=(\d+)$/m.exec(result.output)?.[1])).toBeGreaterThan(1);
  });

  it('keeps no more output than was asked for', async () => {
    const container = await world.started(['sleep']);
    const request = { args: ['/bin/init', 'lines', '1000', '100'], env: [], timeoutMs: 10_000, outputMaxBytes: 4_096 };
    const result = await world.runtime.exec(container.id, request, forever);
    expect(result.exitCode).toBe(0);
    expect(result.output).toHaveLength(4_096);
  });

  it('is killed with everything it started when its time is up', async () => {
    const container = await world.started(['sleep']);
    const request = { args: ['/bin/init', 'tree'], env: [], timeoutMs: 200, outputMaxBytes: 4_096 };
    const result = await world.runtime.exec(container.id, request, forever);
    expect(result).toMatchObject({ exitCode: -1, timedOut: true, output: 'planted\n' });
    expect(native().processAlive(container.pid, container.startTime)).toBe(true);
    // The tree had a cgroup of its own; it could only be removed once nothing lived in it.
    expect(await native().cgroupList(`${world.cgroupParent}/${container.id}`)).toEqual([]);
    const inside = { args: ['/bin/init', 'exit', '0'], env: [], timeoutMs: 5_000, outputMaxBytes: 10 };
    expect((await world.runtime.exec(container.id, inside, forever)).exitCode).toBe(0);
  });

  it('is refused by name when it does not exist', async () => {
    const container = await world.started(['sleep']);
    const request = { args: ['/bin/none'], env: [], timeoutMs: 1_000, outputMaxBytes: 10 };
    await expect(world.runtime.exec(container.id, request, forever)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('/bin/none'),
    });
  });

  it('is refused in a container that has ended', async () => {
    const { container } = await world.ran(['exit', '0']);
    const request = { args: ['/bin/init'], env: [], timeoutMs: 1_000, outputMaxBytes: 10 };
    await expect(world.runtime.exec(container.id, request, forever)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('has its own answer among many at once, while memory is moved about', async () => {
    const container = await world.started(['sleep']);
    const ask = (code: number) =>
      world.runtime.exec(
        container.id,
        { args: ['/bin/init', 'exit', String(code)], env: [], timeoutMs: 20_000, outputMaxBytes: 4_096 },
        forever,
      );
    for (let round = 0; round < 10; round += 1) {
      const codes = Array.from({ length: 12 }, (_, i) => round * 12 + i);
      const waste = codes.map((code) => new Array(20_000).fill({ code }));
      const results = await Promise.all(codes.map(ask));
      expect(results.map((result) => result.exitCode)).toEqual(codes);
      expect(waste).toHaveLength(codes.length);
    }
    await world.runtime.kill(container.id, SIGKILL);
  });
});

describe('limits', () => {
  it('kill a container that takes too much memory, and the record says so', async () => {
    const { exit } = await world.ran(['eat', '64'], { limits: { memoryBytes: 32 << 20 } });
    expect(exit).toMatchObject({ code: null, signal: SIGKILL, oomKilled: true });
  });

  it('do not blame memory for another death', async () => {
    const { exit } = await world.ran(['exit', '137'], { limits: { memoryBytes: 32 << 20 } });
    expect(exit).toMatchObject({ code: 137, oomKilled: false });
  });

  it('stop a container from having more processes', async () => {
    const container = await world.started(['fork', '50'], { limits: { pids: 10 } });
    await until(() => outputOf(container).includes('ready'), 'it has counted');
    expect(outputOf(container)).toBe('alive=9\nready\n');
  });

  it('are a quota of CPU time', async () => {
    const file = isUnified() ? '/sys/fs/cgroup/cpu.max' : '/sys/fs/cgroup/cpu/cpu.cfs_quota_us';
    const { output } = await world.ran(['read', file], { limits: { nanoCpus: 5e8 } });
    expect(output.split(/\s/)[0]).toBe('50000');
  });
});
