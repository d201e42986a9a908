import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LayerImages } from '../../../agent/image/layer-images.ts';
import { unpackLayer } from '../../../agent/image/unpack.ts';
import { noLog } from '../../../common/log.ts';
import type { ManagerId } from '../../../common/model/ids.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { LayerReader } from '../../../common/oci/layer.ts';
import { buildDemoImages, type DemoImage } from '../../../deploy/dev/images.ts';
import { blobService } from '../../../manager/images/blob-service.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { native } from '../../../native/index.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { noRegistry } from '../../support/registry.ts';
import { streamOf, tarOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const children: ChildProcess[] = [];
let dir: string;
let demo: readonly DemoImage[];
let server: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-demo-'));
  demo = await buildDemoImages(join(dir, 'images'));
  const store = new MemoryStore();
  const images = await ManagerImages.open({
    dir: join(dir, 'manager'),
    store,
    clock: new FakeClock(),
    log: noLog,
    openRepository: noRegistry,
  });
  for (const { path } of demo) await images.load(streamOf(await readFile(path)), never);
  const service = blobService({
    blobs: images.blobs,
    store,
    managerId: 'm' as ManagerId,
    peer: () => expect.unreachable(),
  });
  const fetchBlob: typeof service.fetchBlob = (request) =>
    service.fetchBlob(request, { peer: undefined, signal: never });
  const agent = await LayerImages.open({
    dir: join(dir, 'agent'),
    servers: () => [{ fetchBlob } as never],
    log: noLog,
  });
  const [image] = images.list().filter((each) => each.reference === 'web:2');
  const unpacked = await agent.ensure('web:2', image?.digest as never, never);
  await agent.close();
  expect(unpacked.config).toMatchObject({ entrypoint: ['/server'], exposedPorts: [{ port: 80, protocol: 'tcp' }] });
  server = join(unpacked.layers[0] ?? '', 'server');
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => native().removeTree(dir));

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

async function start(...args: readonly string[]): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const port = await freePort();
  const child = spawn(server, args, { env: { PORT: String(port), VERSION: '2' }, stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  await once(child.stdout as NonNullable<typeof child.stdout>, 'data');
  return { child, port };
}

async function ask(
  port: number,
  path: string,
  agent?: Agent,
): Promise<{ status: number; body: string; connection: string }> {
  const request = get({ host: '127.0.0.1', port, path, ...(agent === undefined ? {} : { agent }) });
  const [reply] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  const pieces = await reply.toArray();
  return {
    status: reply.statusCode ?? 0,
    body: Buffer.concat(pieces).toString(),
    connection: reply.headers.connection ?? '',
  };
}

describe('the demo images', () => {
  it('have the same bytes whenever they are built', async () => {
    const again = await buildDemoImages(join(dir, 'again'));
    for (const [index, { path }] of demo.entries()) {
      expect((await readFile(path)).equals(await readFile(again[index]?.path ?? ''))).toBe(true);
    }
    await rm(join(dir, 'again'), { recursive: true });
  });

  it('answer with hostname, version and the client', async () => {
    const { port } = await start();
    const reply = await ask(port, '/');
    expect(reply.body).toMatch(/^hostname: .+\nversion: 2\nclient: 127\.0\.0\.1\n$/);
    expect((await ask(port, '/healthz')).body).toBe('ok\n');
    expect((await ask(port, '/nope')).status).toBe(404);
  });

  it('answer hundreds of delayed requests side by side, and close a connection only behind an answer', async () => {
    const { port } = await start();
    const agent = new Agent({ keepAlive: true });
    const first = await Promise.all(Array.from({ length: 200 }, () => ask(port, '/?ms=1100', agent)));
    expect(first.every((reply) => reply.status === 200 && reply.connection === 'keep-alive')).toBe(true);
    const second = await Promise.all(Array.from({ length: 200 }, () => ask(port, '/', agent)));
    expect(second.every((reply) => reply.status === 200 && reply.connection === 'close')).toBe(true);
    agent.destroy();
  });

  it('end at once on SIGTERM, but for the deaf one', async () => {
    const { child } = await start();
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    const deaf = await start('deaf');
    deaf.child.kill('SIGTERM');
    expect((await ask(deaf.port, '/healthz')).status).toBe(200);
  });

  it('crash, end, fall sick and check themselves as asked', async () => {
    expect(await once(spawn(server, ['crash', '0']), 'exit')).toEqual([1, null]);
    expect(await once(spawn(server, ['exit0', '0']), 'exit')).toEqual([0, null]);
    const { port } = await start('sick');
    expect((await ask(port, '/healthz')).status).toBe(500);
    expect(await once(spawn(server, ['check'], { env: { PORT: String(port) } }), 'exit')).toEqual([1, null]);
    const well = await start();
    const shell = join(server, '../bin/sh');
    expect(await once(spawn(shell, ['-c', `${server} check`], { env: { PORT: String(well.port) } }), 'exit')).toEqual([
      0,
      null,
    ]);
  });
});

describe('unpacked layers under overlayfs', () => {
  it('hide what whiteouts and opaque folders say', async () => {
    const unpack = async (name: string, tar: Buffer): Promise<string> => {
      const root = join(dir, name);
      await mkdir(root);
      await unpackLayer(
        { reader: new LayerReader(streamOf(tar), name), dir: root, diffId: digestOf(tar), name },
        never,
      );
      return root;
    };
    const lower = await unpack('lower', tarOf([{ path: 'gone' }, { path: 'kept' }, { path: 'folder/old' }]));
    const upper = await unpack(
      'upper',
      tarOf([{ path: '.wh.gone' }, { path: 'folder/.wh..wh..opq' }, { path: 'folder/new' }]),
    );
    const target = join(dir, 'merged');
    await mkdir(target);
    const script = 'mount -t overlay covey-test -o "lowerdir=$1:$2" "$3" && cd "$3" && find . -type f | sort';
    const found = execFileSync('unshare', ['-m', 'sh', '-c', script, 'sh', upper, lower, target], { encoding: 'utf8' });
    expect(found).toBe('./folder/new\n./kept\n');
  });
});
