import { mkdir, mkdtemp, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LayerImages } from '../../../agent/image/layer-images.ts';
import type { BlobServer } from '../../../agent/image/pull.ts';
import { ClusterError } from '../../../common/errors.ts';
import { withResolvers } from '../../../common/iterate.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest, ManagerId } from '../../../common/model/ids.ts';
import { blobService } from '../../../manager/images/blob-service.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { PeerBlobs } from '../../../manager/images/peer-blobs.ts';
import { native } from '../../../native/index.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { archiveOf, type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryEtcd } from '../../support/memory-store.ts';
import { noRegistry } from '../../support/registry.ts';
import { streamOf } from '../../support/tar.ts';
import { until } from '../../support/until.ts';

const never = new AbortController().signal;
const BASE = layer([
  { path: 'lib/', type: '5' },
  { path: 'lib/base', body: 'base'.repeat(500_000) },
]);
const WEB = imageOf({ layers: [BASE, layer([{ path: 'server', body: 'web' }])] });
const API = imageOf({ reference: 'api:1', layers: [BASE, layer([{ path: 'server', body: 'api' }])] });
const digestOfImage = (image: BuiltImage): Digest => image.digest as Digest;

let dir: string;
let asked: string[];
let servers: BlobServer[];
let agent: LayerImages;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-ensure-'));
  asked = [];
  servers = [serverOf(WEB, API)];
  agent = await openAgent();
});
afterEach(async () => {
  await agent.close();
  await native().removeTree(dir);
});

const openAgent = (): Promise<LayerImages> =>
  LayerImages.open({ dir: join(dir, 'agent'), servers: () => servers, log: noLog });
const ensure = (image: BuiltImage, signal = never) => agent.ensure(image.reference, digestOfImage(image), signal);
const agentFiles = async (folder: string): Promise<readonly string[]> =>
  (await readdir(join(dir, 'agent', folder))).toSorted();

/** A manager that has these images' blobs and gives `change`d bytes. */
function serverOf(...images: readonly BuiltImage[]): BlobServer {
  const blobs = new Map(images.flatMap((image) => [...image.blobs]));
  return {
    async *fetchBlob({ digest, offset }) {
      asked.push(`${digest} ${offset}`);
      const blob = blobs.get(digest ?? '');
      if (blob === undefined) throw new ClusterError('not_found', `no manager has blob ${digest}`);
      for await (const chunk of streamOf(blob.subarray(offset ?? 0), 1_000)) yield { chunk };
    },
  };
}

/** Breaks off after `bytes` of every blob. */
function breaking(server: BlobServer, bytes: number): BlobServer {
  return {
    async *fetchBlob(request, options) {
      let left = bytes;
      for await (const { chunk } of server.fetchBlob(request, options)) {
        if (left < chunk.length) throw new ClusterError('unavailable', 'the manager has gone');
        left -= chunk.length;
        yield { chunk };
      }
    },
  };
}

describe('an image that a host needs', () => {
  it('is pulled by digest and unpacked, lowest layer first, with its config', async () => {
    const image = await ensure(WEB);
    expect(image.digest).toBe(WEB.digest);
    expect(image.config.cmd).toEqual(['/server']);
    expect(image.layers).toHaveLength(2);
    expect(await readFile(join(image.layers[1] ?? '', 'server'), 'utf8')).toBe('web');
    expect((await readFile(join(image.layers[0] ?? '', 'lib/base'))).length).toBe(2_000_000);
  });

  it('is asked for once, however many tasks wait for it, and never again', async () => {
    await Promise.all([ensure(WEB), ensure(WEB), ensure(WEB)]);
    expect(asked).toHaveLength(4);
    agent = await openAgent();
    await ensure(WEB);
    expect(asked).toHaveLength(4);
  });

  it('shares unpacked layers with others', async () => {
    const [web, api] = await Promise.all([ensure(WEB), ensure(API)]);
    expect(api.layers[0]).toBe(web.layers[0]);
    expect(await agentFiles('layers')).toEqual(
      expect.arrayContaining([...new Set([...web.layers, ...api.layers])].map((path) => path.slice(-64))),
    );
  });

  it('keeps no packed layers', async () => {
    await ensure(WEB);
    expect(await agentFiles('blobs/sha256')).toHaveLength(2);
    expect(await agentFiles('incoming')).toEqual([]);
  });

  it('mounts a layer that occurs twice only where it is highest', async () => {
    const twice = imageOf({ layers: [BASE, layer([{ path: 'x' }]), BASE] });
    servers = [serverOf(twice)];
    const image = await ensure(twice);
    expect(image.layers).toHaveLength(2);
    expect(await readdir(image.layers[1] ?? '')).toEqual(['lib']);
  });

  it('is resumed where a manager broke off, from the next one', async () => {
    const whole = serverOf(WEB);
    servers = [breaking(whole, 1_500), whole];
    await ensure(WEB);
    expect(asked.some((each) => each.endsWith(' 1000'))).toBe(true);
  });

  it('comes from the next manager when one has no room for what it was to fetch', async () => {
    const full: BlobServer = {
      fetchBlob: ({ digest }) => {
        throw new ClusterError('exhausted', `blob ${digest} cannot be written: no space left on the disk`);
      },
    };
    servers = [full, serverOf(WEB)];
    expect((await ensure(WEB)).digest).toBe(WEB.digest);
  });

  it('goes on behind what an earlier process had pulled', async () => {
    const { digest } = JSON.parse(WEB.manifest).layers[0] as { digest: string };
    const blob = WEB.blobs.get(digest) as Buffer;
    await writeFile(join(dir, 'agent/incoming', `${digest.slice(7)}.part`), blob.subarray(0, 777));
    await ensure(WEB);
    expect(asked).toContain(`${digest} 777`);
  });

  it('is refused when every manager gives other bytes, and nothing is kept of them', async () => {
    const lying: BlobServer = {
      async *fetchBlob() {
        yield { chunk: Buffer.from('something else') };
      },
    };
    servers = [lying];
    await expect(ensure(WEB)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('is corrupt'),
    });
    expect(await agentFiles('incoming')).toEqual([]);
    servers = [lying, serverOf(WEB)];
    await ensure(WEB);
  });

  it('waits for better times when no manager is there, and fails when none has it', async () => {
    servers = [];
    await expect(ensure(WEB)).rejects.toMatchObject({ code: 'unavailable' });
    servers = [serverOf(API), serverOf(API)];
    await expect(ensure(WEB)).rejects.toMatchObject({
      code: 'not_found',
      message: `no manager has blob ${WEB.digest}`,
    });
    expect(asked).toHaveLength(2);
    servers = [serverOf(API), breaking(serverOf(WEB), 0)];
    await expect(ensure(WEB)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('leaves no folder when a layer cannot be unpacked, and names image and layer', async () => {
    const bad = imageOf({
      layers: [
        layer([
          { path: 'f', body: 'x' },
          { path: 'f/in', body: 'y' },
        ]),
      ],
    });
    servers = [serverOf(bad)];
    await expect(ensure(bad)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('of image "web:1"'),
    });
    expect(await agentFiles('layers')).toEqual([]);
  });

  it('is refused when it is for another platform', async () => {
    const other = imageOf({ layers: [BASE], arch: 'riscv64' });
    servers = [serverOf(other)];
    await expect(ensure(other)).rejects.toThrow('is for linux/riscv64');
  });

  it('is given up when its last waiter leaves, and can be had afterwards', async () => {
    const gate = withResolvers<void>();
    const entered = withResolvers<void>();
    const hanging: BlobServer = {
      async *fetchBlob(_request, { signal }) {
        signal.addEventListener('abort', () => gate.reject(signal.reason), { once: true });
        entered.resolve();
        await gate.promise;
        yield { chunk: Buffer.alloc(0) };
      },
    };
    servers = [hanging];
    const abort = new AbortController();
    const waiting = ensure(WEB, abort.signal);
    await entered.promise;
    abort.abort(new Error('task gone'));
    await expect(waiting).rejects.toThrow('task gone');
    await expect(gate.promise).rejects.toThrow();
    servers = [serverOf(WEB)];
    await ensure(WEB);
  });

  it('is believed after a crash only if it was whole', async () => {
    const image = await ensure(WEB);
    await agent.close();
    const layers = join(dir, 'agent/layers');
    await mkdir(join(layers, 'new-half'));
    await rename(image.layers[1] ?? '', join(layers, 'old-half'));
    await writeFile(join(layers, `${image.layers[0]?.slice(-64)}.unsynced`), 'an earlier boot');
    agent = await openAgent();
    expect(await readdir(layers)).toEqual([]);
    expect((await ensure(WEB)).layers).toEqual(image.layers);
  });

  it('goes when nobody uses it, with the layers only it had', async () => {
    const [web] = [await ensure(WEB), await ensure(API)];
    await agent.close();
    expect(await agent.remove(digestOfImage(API), never)).toBe(true);
    expect(await agentFiles('layers')).toEqual(web.layers.map((path) => path.slice(-64)).toSorted());
    expect(await agent.remove(digestOfImage(WEB), never)).toBe(true);
    expect(await agent.remove(digestOfImage(WEB), never)).toBe(false);
    expect([await agentFiles('layers'), await agentFiles('blobs/sha256'), await agentFiles('images')]).toEqual([
      [],
      [],
      [],
    ]);
  });

  it('waits while three others are being brought here', async () => {
    const images = [1, 2, 3, 4, 5].map((number) =>
      imageOf({ reference: `n${number}:1`, layers: [layer([{ path: 'n', body: String(number) }])] }),
    );
    const gate = withResolvers<void>();
    const open = serverOf(...images);
    servers = [
      {
        async *fetchBlob(request, options) {
          const chunks = open.fetchBlob(request, options);
          await gate.promise;
          yield* chunks;
        },
      },
    ];
    let under = 0;
    let most = 0;
    servers = servers.map((server) => ({
      async *fetchBlob(request, options) {
        under += 1;
        most = Math.max(most, under);
        try {
          yield* server.fetchBlob(request, options);
        } finally {
          under -= 1;
        }
      },
    }));
    const all = Promise.all(images.map((image) => ensure(image)));
    await until('three are asked for', 5_000, () => Promise.resolve(under === 3 || undefined));
    gate.resolve();
    await all;
    expect(most).toBe(3);
  });

  it('is listed with its folders, and when it was last used', async () => {
    const [web, api] = [await ensure(WEB), await ensure(API)];
    await agent.touch(new Set([digestOfImage(WEB)]), 86_400_000);
    const listed = (await agent.list()).toSorted((a, b) => a.usedAt - b.usedAt);
    expect(listed).toEqual([
      { digest: digestOfImage(WEB), reference: WEB.reference, layers: web.layers, usedAt: 86_400_000 },
      { digest: digestOfImage(API), reference: API.reference, layers: api.layers, usedAt: expect.any(Number) },
    ]);
  });

  it('is not removed while it is being brought here', async () => {
    const digest = digestOfImage(WEB);
    const both = Promise.all([ensure(WEB), agent.remove(digest, never), agent.remove(digest, never)]);
    const [image, ...removed] = await both;
    expect(removed).toEqual([false, false]);
    for (const path of image.layers) expect((await readdir(path)).length).toBeGreaterThan(0);
  });
});

describe('a manager asked for a blob', () => {
  it('fetches what it lacks from the manager that has it, and keeps it', async () => {
    const etcd = new MemoryEtcd();
    const [holder, other] = [await managerAt('holder', etcd), await managerAt('other', etcd)];
    await holder.images.load(streamOf(archiveOf(WEB)), never);
    let fetched = 0;
    const serve = blobService({
      blobs: other.images.blobs,
      store: other.store,
      managerId: 'other' as ManagerId,
      peer: () => ({
        fetchBlob: (request, options) => {
          fetched += 1;
          return asServer(holder.service).fetchBlob(request, options);
        },
      }),
    });
    servers = [asServer(serve)];
    await ensure(WEB);
    expect(fetched).toBe(WEB.blobs.size);
    expect((await other.images.blobs.list()).toSorted()).toEqual([...WEB.blobs.keys()].toSorted());
  });

  it('has it by then, when the manager that took the image is gone', async () => {
    const etcd = new MemoryEtcd();
    const [holder, other] = [await managerAt('holder', etcd), await managerAt('other', etcd)];
    const parts = { blobs: other.images.blobs, store: other.store, managerId: 'other' as ManagerId };
    const copies = new PeerBlobs({ ...parts, peer: () => asServer(holder.service) });
    const end = new AbortController();
    const keeping = copies.keepCopies(new FakeClock(), noLog, end.signal);
    await holder.images.load(streamOf(archiveOf(WEB)), never);
    await until('it is copied', 5_000, async () => (await other.images.blobs.list()).length === WEB.blobs.size);
    servers = [asServer(other.service)];
    await ensure(WEB);
    end.abort();
    await keeping.catch(() => undefined);
  });

  it('says that it has it not, and refuses offsets beyond its end', async () => {
    const { images, service } = await managerAt('only', new MemoryEtcd());
    const ask = async (digest: string, offset: number): Promise<number> => {
      let bytes = 0;
      for await (const { chunk } of asServer(service).fetchBlob({ digest, offset, local: false }, { signal: never }))
        bytes += chunk.length;
      return bytes;
    };
    await expect(ask(WEB.digest, 0)).rejects.toMatchObject({ code: 'not_found' });
    await images.load(streamOf(archiveOf(WEB)), never);
    expect(await ask(WEB.digest, 10)).toBe(WEB.manifest.length - 10);
    expect(await ask(WEB.digest, WEB.manifest.length)).toBe(0);
    await expect(ask(WEB.digest, 10_000)).rejects.toMatchObject({ code: 'invalid', field: 'offset' });
    await expect(ask('../../etc/passwd', 0)).rejects.toMatchObject({ code: 'invalid', field: 'digest' });
  });
});

async function managerAt(id: string, etcd: MemoryEtcd) {
  const store = etcd.connect();
  store.put('manager', id, { id: id as ManagerId, address: `${id}:1`, version: '0', startedAt: 0 });
  const images = await ManagerImages.open({
    dir: join(dir, id),
    store,
    clock: new FakeClock(),
    log: noLog,
    openRepository: noRegistry,
  });
  const peer = (): BlobServer => serverOf();
  return { store, images, service: blobService({ blobs: images.blobs, store, managerId: id as ManagerId, peer }) };
}

/** Its handlers as a client sees them, without a wire between. */
function asServer(service: ReturnType<typeof blobService>): BlobServer {
  return {
    async *fetchBlob(request, { signal }) {
      const full = { digest: request.digest ?? '', offset: request.offset ?? 0, local: request.local ?? false };
      for await (const { chunk } of service.fetchBlob(full as never, { peer: undefined, signal }))
        yield { chunk: chunk ?? Buffer.alloc(0) } as never;
    },
  };
}
