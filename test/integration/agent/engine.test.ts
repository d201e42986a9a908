/** Containers without a service on the real core: their lives, their files, and what another agent finds of them. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ContainerEngine } from '../../../agent/engine/engine.ts';
import { changesOf, exported, readPath, writePath } from '../../../agent/engine/files.ts';
import type { Standalone } from '../../../agent/engine/standalone.ts';
import type { NativeRuntime } from '../../../agent/runtime/native-runtime.ts';
import { systemClock } from '../../../common/clock.ts';
import { toClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { ContainerSpec } from '../../../common/model/container.ts';
import type { Digest } from '../../../common/model/ids.ts';
import type { BindMount, VolumeMount } from '../../../common/model/mount.ts';
import { TarReader } from '../../../common/oci/tar.ts';
import { FakeNetwork } from '../../support/fake-network.ts';
import { aTemplate, CONTAINER } from '../../support/fixtures.ts';
import { forever, NativeWorld } from '../../support/native-world.ts';
import { streamOf, type TarPart, tarOf } from '../../support/tar.ts';

let world: NativeWorld;
let engine: ContainerEngine;
let made = 0;
/** Ports that services have on this node. */
const held = new Map<string, string>();

beforeAll(() => {
  world = new NativeWorld();
  world.addShell();
  mkdirSync(join(world.layer, 'data', 'deep'), { recursive: true });
  writeFileSync(join(world.layer, 'data', 'old'), 'from the image');
  mkdirSync(join(world.layer, 'kept'));
  writeFileSync(join(world.layer, 'data', 'deep', 'old'), 'from the image too');
});
afterAll(() => world.destroy());

beforeEach(async () => {
  engine = await started(world.runtime);
});
afterEach(async () => {
  for (const each of engine.all) await each.remove({ force: true });
  for (const { name } of await engine.volumes()) {
    await engine.removeVolume(name, forever).catch((cause: unknown) => {
      // One that goes with its end may be removing it at this moment.
      if (toClusterError(cause).code !== 'not_found') throw cause;
    });
  }
  engine.stop();
});

const images = {
  ensure: async () => ({
    digest: 'sha256:0' as Digest,
    layers: [world.layer],
    config: {
      entrypoint: [],
      cmd: ['/bin/sh'],
      env: [],
      workdir: '',
      user: '',
      stopSignal: '',
      exposedPorts: [],
      labels: {},
      volumes: ['/kept'],
    },
  }),
};

async function started(runtime: NativeRuntime): Promise<ContainerEngine> {
  const network = new FakeNetwork();
  await network.start({
    host: { address: '10.0.0.1', pool: '10.64.0.0/12', block: '10.64.0.0/24' },
    peers: [],
    ports: [],
    attached: [],
  });
  const files = async () => [{ target: '/etc/hostname', content: 'box\n' }];
  const addresses = { block: () => '10.64.0.0/24', taken: () => new Set<string>(), portHolders: () => held };
  const parts = { stateDir: world.folder, runtime, images, network, clock: systemClock, log: noLog };
  const fresh = new ContainerEngine({ ...parts, filesFor: files, ...addresses });
  await fresh.start(forever);
  return fresh;
}

function spec(script: string, change: Partial<ContainerSpec> = {}): ContainerSpec {
  made += 1;
  const container = {
    ...CONTAINER,
    entrypoint: ['/bin/sh', '-c'],
    args: [script],
    stopGraceMs: 50,
    imageDigest: `sha256:${'0'.repeat(64)}` as Digest,
  };
  return {
    name: `box${made}`,
    template: aTemplate({ container }),
    ports: [],
    network: 'none',
    mounts: [],
    devices: [],
    autoRemove: false,
    restart: 'no',
    restartMax: 0,
    ...change,
  };
}

async function run(script: string, change: Partial<ContainerSpec> = {}): Promise<Standalone> {
  const box = await engine.create(String(made).padStart(64, '0'), spec(script, change), forever);
  await box.start(forever);
  return box;
}

const tools = () => ({ images, runtime: world.runtime });
const ended = (box: Standalone) => box.wait(forever);
const eventually = <T>(look: () => T) => expect.poll(look, { timeout: 20_000 });

async function namesIn(tar: AsyncIterable<Uint8Array>): Promise<Map<string, string>> {
  const reader = new TarReader(tar, 'a tar');
  const found = new Map<string, string>();
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    let text = '';
    for (let piece = await reader.chunk(65_536); piece !== undefined; piece = await reader.chunk(65_536)) text += piece;
    found.set(entry.path, entry.kind === 'symlink' ? `-> ${entry.link}` : text);
  }
  return found;
}

const put = (box: Standalone, path: string, parts: readonly TarPart[]) =>
  writePath(tools(), box, { path, keepsOwner: false }, streamOf(tarOf(parts)), forever);

describe('a container of no service', () => {
  it('tells its end, keeps its files, and goes with everything', async () => {
    const box = await run('echo more >> /data/log; wc -l < /data/log > /data/lines; exit 4');
    expect(await ended(box)).toEqual({ code: 4, error: '' });
    await box.start(forever);
    await ended(box);
    const found = await namesIn(readPath(tools(), box, { path: '/data/lines', follow: false }, forever));
    expect(found.get('lines')?.trim()).toBe('2');
    await box.remove({ force: false });
    expect(engine.all).toEqual([]);
    await expect(world.runtime.writable(box.record.id)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('tells who is attached from the start its end, though it says nothing and ends at once', async () => {
    for (let times = 0; times < 5; times += 1) {
      const box = await engine.create(`${times}`.padStart(64, 'a'), spec('exit 3'), forever);
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
    const box = await run('true', { autoRemove: true });
    await ended(box);
    await expect.poll(() => engine.all.length).toBe(0);
  });

  it('is run again until it was given up, and counts', async () => {
    const box = await run('exit 3', { restart: 'on-failure', restartMax: 2 });
    await eventually(() => box.state).toBe('exited');
    expect(box.record).toMatchObject({ restarts: 2, exitCode: 3 });
  });

  it('tells who waits its next end, whatever its policy makes of that', async () => {
    const box = await run('test -e /data/second && exec sleep 1000; echo > /data/second; exit 3', {
      restart: 'always',
    });
    expect(await ended(box)).toMatchObject({ code: 3 });
    await eventually(() => box.state).toBe('running');
  });

  it('does not come back once it was killed between two runs, and does after another signal', async () => {
    const box = await run('exit 3', { restart: 'always' });
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
    const container = { ...spec('').template.container, entrypoint: ['/nothing'] };
    const box = await engine.create('f'.repeat(64), spec('', { template: aTemplate({ container }) }), forever);
    await expect(box.start(forever)).rejects.toMatchObject({ code: 'invalid' });
    expect(box.state).toBe('created');
    expect(box.record).toMatchObject({ exitCode: 127, error: expect.stringContaining('/nothing') });
  });

  it('is found by another agent: running, or ended meanwhile', async () => {
    const lives = await run('echo here > /data/here; sleep 1000');
    const ends = await run('read line < /data/fifo || sleep 0.2; exit 6');
    engine.stop();
    world.runtime.close();
    const runtime = world.newRuntime();
    const second = await started(runtime);
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
      engine = await started(world.runtime);
    }
  });
});

it('is not started while another container or a service has its port on this node', async () => {
  const port = { protocol: 'tcp', published: 8_080, target: 80, mode: 'host' } as const;
  const box = await engine.create('c'.repeat(64), spec('sleep 1000', { ports: [port], network: 'cluster' }), forever);
  held.set('8080/tcp', 'task web.1');
  try {
    const message = 'port 8080/tcp is already allocated by task web.1';
    await expect(box.start(forever)).rejects.toMatchObject({ code: 'conflict', message });
    held.delete('8080/tcp');
    await box.start(forever);
    const other = await engine.create(
      'd'.repeat(64),
      spec('sleep 1000', { ports: [port], network: 'cluster' }),
      forever,
    );
    const owner = `port 8080/tcp is already allocated by container ${box.record.spec.name}`;
    await expect(other.start(forever)).rejects.toMatchObject({ code: 'conflict', message: owner });
  } finally {
    held.clear();
  }
});

describe('what a container is shown besides its files', () => {
  const volume = (source: string, target: string, change: Partial<VolumeMount> = {}): VolumeMount => {
    return { kind: 'volume', source, target, readOnly: false, noCopy: false, anonymous: source === '', ...change };
  };
  const bound = (source: string, target: string, change: Partial<BindMount> = {}): BindMount => {
    return { kind: 'bind', source, target, readOnly: false, propagation: 'rprivate', makes: false, ...change };
  };
  const saidBy = async (script: string, change: Partial<ContainerSpec>): Promise<string> => {
    const box = await engine.create(String(made).padStart(64, 'b'), spec(`(${script}) 2>&1`, change), forever);
    const session = await box.start(forever, { types: false });
    let text = '';
    for await (const { bytes } of session?.output ?? []) text += String(bytes);
    return text;
  };

  it('is a volume that begins with what the image has there, keeps what is written, and stays until it is removed', async () => {
    const mounts = [volume('store', '/data')];
    expect(await saidBy('cat /data/old; echo more > /data/more; ls -ln /data/more', { mounts })).toMatch(
      /from the image.* 0 +0 .*more\n$/s,
    );
    const path = join(world.folder, 'volumes', 'store', 'data');
    expect(readFileSync(join(path, 'more'), 'utf8')).toBe('more\n');
    expect(statSync(join(path, 'more')).uid).toBe(0);
    const readOnly = [volume('store', '/data', { readOnly: true })];
    expect(await saidBy('cat /data/more; echo x > /data/x', { mounts: readOnly })).toMatch(/^more\n.*Read-only/);
    await expect(engine.removeVolume('store', forever)).rejects.toMatchObject({ code: 'conflict', message: /box/ });
    for (const each of engine.all) await each.remove({ force: true, volumes: true });
    expect((await engine.volumes()).map(({ name }) => name)).toEqual(['store']);
    await engine.removeVolume('store', forever);
    await expect(engine.removeVolume('store', forever)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is a volume without a name for each that the image wants, which goes with --rm and with rm -v', async () => {
    const box = await run('echo x > /kept/x', {});
    await ended(box);
    expect(box.record.spec.mounts).toMatchObject([{ kind: 'volume', target: '/kept', anonymous: true }]);
    await box.start(forever);
    await ended(box);
    await box.remove({ force: false });
    const [left] = await engine.volumes();
    expect(left).toMatchObject({ anonymous: true, containers: [] });
    await engine.removeVolume(left?.name ?? '', forever);
    for (const autoRemove of [true, false]) {
      const other = await run('true', { autoRemove });
      if (!autoRemove) await other.remove({ force: true, volumes: true });
      await eventually(() => engine.all.length).toBe(0);
      await expect.poll(async () => await engine.volumes()).toEqual([]);
    }
  });

  it('is a folder or a file of the host, read-only when that is wanted, and missed by name', async () => {
    const dir = join(world.folder, 'bound');
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, 'file'), 'of the host\n');
    const mounts = [bound(dir, '/data'), bound(join(dir, 'file'), '/etc/hostname', { readOnly: true })];
    const said = await saidBy('cat /data/file /etc/hostname; echo x > /etc/hostname; echo y > /data/made', { mounts });
    expect(said).toMatch(/^of the host\nof the host\n.*Read-only/);
    expect(readFileSync(join(dir, 'made'), 'utf8')).toBe('y\n');
    const missing = join(dir, 'missing');
    await expect(saidBy('true', { mounts: [bound(missing, '/data')] })).rejects.toMatchObject({
      code: 'invalid',
      message: new RegExp(missing),
    });
    await saidBy('echo z > /data/z', { mounts: [bound(missing, '/data', { makes: true })] });
    expect(readFileSync(join(missing, 'z'), 'utf8')).toBe('z\n');
  });

  it('is memory with the options that were given, and a device of the host', async () => {
    const script =
      'cat /proc/mounts; echo x > /data/x; cat /data/x; busybox head -c 3 /dev/more | busybox wc -c; echo x > /dev/more; echo tried';
    const mounts = [{ kind: 'tmpfs', target: '/data', options: ['size=64k', 'mode=700'] }] as const;
    const devices = [{ source: '/dev/zero', target: '/dev/more', access: 'r' }];
    const said = await saidBy(script, { mounts, devices });
    expect(said).toMatch(/tmpfs \/data tmpfs rw,nosuid,nodev,noexec,.*size=64k,mode=700/);
    expect(said).toMatch(/\nx\n3\n/);
    await expect(saidBy('true', { devices: [{ source: '/etc', target: '/dev/x', access: 'r' }] })).resolves.toBe('');
    await expect(
      saidBy('true', { devices: [{ source: '/etc/passwd', target: '/dev/x', access: 'r' }] }),
    ).rejects.toMatchObject({ code: 'invalid', message: /not a device node/ });
  });
});

describe('another agent', () => {
  /** Lets go of everything as an agent that ends, and takes it up as the next. */
  async function next(): Promise<ContainerEngine> {
    engine.stop();
    engine = await started(world.runtime);
    return engine;
  }

  it('goes on with a restart that was waited for', async () => {
    const box = await run('busybox sleep 0.3; exit 3', { restart: 'unless-stopped' });
    await eventually(() => box.record.restarts).toBeGreaterThan(1);
    await eventually(() => box.state).toBe('running');
    // From its end on, for as long as its policy waits.
    await eventually(() => box.state).toBe('restarting');
    const again = (await next()).find(box.record.id);
    const before = again.record.restarts;
    await eventually(() => again.record.restarts).toBeGreaterThan(before);
  });

  it('starts what is to run always though a user has stopped it, and nothing else that was stopped', async () => {
    const always = await run('exec sleep 1000', { restart: 'always' });
    const stopped = await run('exec sleep 1000', { restart: 'unless-stopped' });
    const never = await engine.create('e'.repeat(64), spec('exec sleep 1000', { restart: 'always' }), forever);
    for (const box of [always, stopped]) await box.stop({ graceMs: 0 }, forever);
    const second = await next();
    await eventually(() => second.find(always.record.id).state).toBe('running');
    expect(second.find(stopped.record.id).state).toBe('exited');
    expect(second.find(never.record.id).state).toBe('created');
    expect(second.find(never.record.id).record).toEqual(never.record);
  });
});

describe('files of a container', () => {
  it('are told as added, changed and deleted', async () => {
    const box = await run(
      'echo x > /data/new; echo y > /data/old; rm -r /data/deep 2>/dev/null || busybox rm -r /data/deep',
    );
    await ended(box);
    const lines = (await changesOf(tools(), box, forever)).map(({ kind, path }) => `${kind} ${path}`);
    expect(lines).toEqual(['C /data', 'D /data/deep', 'A /data/new', 'C /data/old']);
  });

  it('are exported as they are seen inside', async () => {
    const box = await run('echo x > /data/new; busybox rm /data/old');
    await ended(box);
    const found = await namesIn(exported(tools(), box, forever));
    expect(found.get('data/new')).toBe('x\n');
    expect(found.has('data/old')).toBe(false);
    expect(found.get('data/deep/old')).toBe('from the image too');
  });

  it.each(['running', 'ended'] as const)('are copied into one that is %s, as root’s', async (state) => {
    const box = await run(state === 'running' ? 'sleep 1000' : 'busybox rm -r /data/deep');
    if (state === 'ended') await ended(box);
    await put(box, '/data', [
      { path: 'in', body: 'copied', uid: 77 },
      { path: 'deep/', type: '5', mode: 0o750 },
      { path: 'deep/in', body: 'deeper' },
    ]);
    if (state === 'ended') {
      await box.respec(spec('sleep 1000', { name: box.record.spec.name }));
      await box.start(forever);
    }
    const request = { args: ['/bin/sh', '-c', 'cat /data/in /data/deep/in; ls -ln /data; ls /data/deep'], env: [] };
    const { output } = await world.runtime.exec(
      box.record.id,
      { ...request, timeoutMs: 5_000, outputMaxBytes: 9_999 },
      forever,
    );
    expect(output).toContain('copieddeeper');
    expect(output).toMatch(/-rw-r--r-- +1 0 +0 .* in\n/);
    expect(output.endsWith(state === 'running' ? 'in\nold\n' : '\nin\n')).toBe(true);
  });

  it('go nowhere outside, whatever links the container makes', async () => {
    const outside = join(world.folder, 'outside');
    mkdirSync(outside);
    const race =
      'while :; do busybox rm -rf /data/way; busybox ln -s / /data/way; busybox rm -f /data/way; busybox mkdir /data/way; done';
    const box = await run(`busybox ln -s ${outside} /data/out; ${race}`);
    await expect.poll(async () => (await namesIn(exported(tools(), box, forever))).has('data/out')).toBe(true);
    await expect(put(box, '/data/out', [{ path: 'evil', body: 'x' }])).rejects.toMatchObject({ code: 'not_found' });
    for (let tries = 0; tries < 30; tries += 1) {
      // Whether it is a folder at this moment is the container's affair; where it leads is ours.
      await put(box, '/data/way', [{ path: 'evil', body: 'x' }]).catch(() => undefined);
      await put(box, '/data', [{ path: 'way/evil', body: 'x' }]).catch(() => undefined);
    }
    expect(() => readFileSync(join(outside, 'evil'))).toThrow('ENOENT');
    expect(() => readFileSync('/evil')).toThrow('ENOENT');
    await expect(put(box, '/data', [{ path: '../../evil', body: 'x' }])).rejects.toMatchObject({ code: 'invalid' });
  });

  it('do not become another kind of file, and are missed by name', async () => {
    const box = await run('sleep 1000');
    await expect(put(box, '/', [{ path: 'data', body: 'a file' }])).rejects.toMatchObject({ code: 'conflict' });
    await expect(put(box, '/data', [{ path: 'old/', type: '5' }])).rejects.toMatchObject({ code: 'conflict' });
    await expect(put(box, '/none', [])).rejects.toMatchObject({ code: 'not_found' });
    const read = readPath(tools(), box, { path: '/none', follow: false }, forever);
    await expect(namesIn(read)).rejects.toMatchObject({ code: 'not_found', message: /\/none/ });
  });
});
