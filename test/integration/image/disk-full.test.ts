/** Managers whose disk is full at whatever step of a load, import, pull, put, copy or push: real files, on a disk as small as it takes. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { putImage } from '../../../agent/image/put.ts';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest, ManagerId } from '../../../common/model/ids.ts';
import { blobService } from '../../../manager/images/blob-service.ts';
import { imageDoor } from '../../../manager/images/image-door.ts';
import { ManagerImages, type ManagerImagesOptions } from '../../../manager/images/manager-images.ts';
import { type BlobPeer, COPY_AGAIN_MS, PeerBlobs } from '../../../manager/images/peer-blobs.ts';
import { ImagePusher, type ImagePusherOptions, type Shelf } from '../../../manager/images/push.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import {
  archiveOf,
  type BuiltImage,
  dockerSaveOf,
  type ImageSpec,
  imageOf,
  layer,
} from '../../support/image-archive.ts';
import { MemoryEtcd } from '../../support/memory-store.ts';
import { noRegistry } from '../../support/registry.ts';
import { streamOf, tarOf } from '../../support/tar.ts';
import { PAGE_BYTES, TightDisk, untilEnough } from '../../support/tight-disk.ts';
import { until } from '../../support/until.ts';

const MIB = 2 ** 20;
const never = new AbortController().signal;
/** Random, so that it takes as much packed. */
const SPEC: ImageSpec = {
  layers: [
    layer([{ path: 'base', body: randomBytes(30_000) }]),
    layer([{ path: 'server', body: randomBytes(9_000) }]),
    layer([{ path: 'page', body: randomBytes(20_000) }]),
  ],
};
const WEB = imageOf(SPEC);
const OLD = imageOf({ reference: 'old:1', layers: [layer([{ path: 'old', body: 'old' }])] });

let dir: string;
let disk: TightDisk;
let etcd: MemoryEtcd;
let images: ManagerImages;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-full-'));
  disk = new TightDisk(dir, { mib: 2, files: 100 });
  etcd = new MemoryEtcd();
  images = await open(repositoryOf(WEB));
  await images.load(streamOf(archiveOf(OLD)), never);
});
afterEach(async () => {
  disk.remove();
  await rm(dir, { recursive: true });
});

type OpenRepository = ManagerImagesOptions['openRepository'];

const open = (openRepository: OpenRepository, path = join(disk.path, 'manager')): Promise<ManagerImages> =>
  ManagerImages.open({ dir: path, store: etcd.connect(), clock: new FakeClock(5), log: noLog, openRepository });

/** A registry with one image; what it says, and how often it was asked for a blob. */
function repositoryOf(image: BuiltImage, asked: Digest[] = []): OpenRepository {
  return async () => ({
    manifest: async () => ({
      digest: image.digest as Digest,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      text: image.manifest,
    }),
    blob: (digest, offset) => {
      asked.push(digest);
      return streamOf((image.blobs.get(digest) as Buffer).subarray(offset), 1_000);
    },
    close: async () => undefined,
  });
}

const digests = (...some: readonly BuiltImage[]): readonly string[] =>
  some.flatMap(({ blobs }) => [...blobs.keys()]).toSorted();
const held = async (): Promise<readonly string[]> => (await images.blobs.list()).toSorted();

/** Nothing is here, or begun, that was not before. */
async function expectAsBefore(where: string): Promise<void> {
  expect(readdirSync(images.blobs.incoming), where).toEqual([]);
  expect(await held(), where).toEqual(digests(OLD));
  expect(
    images.list().map(({ reference }) => reference),
    where,
  ).toEqual(['old:1']);
}

const ROOT = tarOf([
  { path: 'bin/', type: '5' },
  { path: 'bin/server', body: randomBytes(20_000) },
]);
const imported = (tar: Buffer) => () =>
  images.import({ reference: 'web:1', config: '{"Cmd":["/bin/server"]}', message: '' }, streamOf(tar, 1_000), never);

/** As a host that has built it. */
async function put(): Promise<void> {
  const peers = { fetch: () => Promise.reject(new ClusterError('not_found', 'nobody has it')) };
  const door = imageDoor({ store: etcd.connect(), images, peers });
  const server = {
    putImage: (requests: unknown, { signal }: { signal: AbortSignal }) =>
      door.putImage(requests as never, { peer: undefined, signal }) as never,
    resolveImage: noRegistry,
  };
  const read = (blob: Digest) => streamOf(WEB.blobs.get(blob) as Buffer, 1_000);
  await putImage([server], { manifest: Buffer.from(WEB.manifest), names: ['web:1'], read }, never);
}

const WAYS: readonly (readonly [name: string, work: () => Promise<unknown>])[] = [
  ['an OCI layout is loaded', () => images.load(streamOf(archiveOf(WEB), 1_000), never)],
  ['what an old `docker save` wrote is loaded', () => images.load(streamOf(dockerSaveOf(SPEC), 1_000), never)],
  ['a tar is imported', imported(ROOT)],
  ['a packed tar is imported', imported(gzipSync(ROOT))],
  ['an image is pulled', () => images.pull('web:1', () => undefined, never)],
  ['a host’s image is put', put],
];

describe.each(WAYS)('a disk that is full while %s', (_, work) => {
  it.each<[string, (step: number) => void, number]>([
    ['byte', (step) => disk.leaveBytes(step * PAGE_BYTES), 4],
    ['file', (step) => disk.leaveFiles(step), 1],
  ])('has every %s given back, whatever the step, and is enough in the end', async (__, leave, least) => {
    const { failures } = await untilEnough({ leave, work, after: expectAsBefore });
    expect(failures.length).toBeGreaterThan(least);
    expect(readdirSync(images.blobs.incoming)).toEqual([]);
    const [old, web] = images.list();
    expect([old?.reference, web?.reference]).toEqual(['old:1', 'web:1']);
    expect(await held()).toEqual([...(old?.blobs ?? []), ...(web?.blobs ?? [])].toSorted());
  });
});

describe('a full disk', () => {
  it('is no reason to ask a registry again, or another one', async () => {
    const asked: Digest[] = [];
    images = await open(async (name) => ({
      ...(await repositoryOf(WEB, asked)(name)),
      passOver: () => expect.fail('it is not the registry’s fault'),
    }));
    disk.leaveBytes(20_000);
    await expect(images.pull('web:1', () => undefined, never)).rejects.toMatchObject({ code: 'exhausted' });
    expect(asked).toEqual([...new Set(asked)]);
  });

  it('is told of a blob that is long enough for a thread of its own', async () => {
    const long = imageOf({ layers: [layer([{ path: 'long', body: randomBytes(9 * MIB) }])] });
    mkdirSync(join(dir, 'large'));
    const large = new TightDisk(join(dir, 'large'), { mib: 16 });
    try {
      images = await open(repositoryOf(long), join(large.path, 'manager'));
      const { failures } = await untilEnough({
        leave: (step) => large.leaveBytes(step * 3 * MIB),
        work: () => images.pull('web:1', () => undefined, never),
        after: async (where) => {
          expect(readdirSync(images.blobs.incoming), where).toEqual([]);
          expect(await held(), where).toEqual([]);
        },
      });
      expect(failures).toHaveLength(4);
      expect(await held()).toEqual(digests(long));
    } finally {
      large.remove();
    }
  });

  it('ends the copying of another manager’s image, blob by blob, and a push that lacks one', async () => {
    const copies = await copiesOf(WEB);
    const sent: string[] = [];
    const pusher = pusherTo(sent, (digest, signal) => copies.fetch(digest, signal));
    const push = () => pusher.push('web:1', () => undefined, never);
    // What has come is named by an image, and stays: this manager is to have it.
    const after = async (where: string): Promise<void> => expect(sent, where).not.toContain(WEB.digest);
    const { failures } = await untilEnough({ leave: (step) => disk.leaveBytes(step * PAGE_BYTES), work: push, after });
    expect(failures.length).toBeGreaterThan(2);
    expect(readdirSync(images.blobs.incoming)).toEqual([]);
    expect(await held()).toEqual(digests(OLD, WEB));
    expect(sent.at(-1)).toBe(WEB.digest);
  });

  it('keeps a copy of another manager’s image waiting only until there is room', async () => {
    const copies = await copiesOf(WEB);
    const clock = new FakeClock();
    const end = new AbortController();
    disk.leaveBytes(0);
    const keeping = copies.keepCopies(clock, noLog, end.signal);
    keeping.catch(() => undefined);
    await until('it is given up for now', 10_000, async () => {
      const waitMs = (clock.nextAt ?? clock.now()) - clock.now();
      if (waitMs > 0 && waitMs < COPY_AGAIN_MS) clock.advance(waitMs);
      return waitMs === COPY_AGAIN_MS;
    });
    disk.clear();
    clock.advance(COPY_AGAIN_MS);
    await until('it is copied', 10_000, async () => (await held()).length === digests(OLD, WEB).length);
    end.abort();
    await keeping.catch(() => undefined);
    expect(clock.timers).toBe(0);
  });

  it('is enough for a push of what is here, which writes nothing', async () => {
    await images.load(streamOf(archiveOf(WEB)), never);
    disk.leaveBytes(0);
    disk.leaveFiles(0);
    const sent: string[] = [];
    await pusherTo(sent, noRegistry).push('web:1', () => undefined, never);
    expect(sent.toSorted()).toEqual(digests(WEB));
  });
});

/** The way to a manager that has the image. */
async function copiesOf(image: BuiltImage): Promise<PeerBlobs> {
  const holder = await open(noRegistry, join(dir, 'holder'));
  await holder.load(streamOf(archiveOf(image)), never);
  const store = etcd.connect();
  store.put('manager', 'holder', { id: 'holder' as ManagerId, address: 'holder:1', version: '0', startedAt: 0 });
  const parts = { store, peer: noRegistry };
  const service = blobService({ ...parts, blobs: holder.blobs, managerId: 'holder' as ManagerId });
  const peer = (): BlobPeer => ({
    async *fetchBlob(request, { signal }) {
      for await (const each of service.fetchBlob(request as never, { peer: undefined, signal })) yield each as never;
    },
  });
  return new PeerBlobs({ blobs: images.blobs, store, managerId: 'own' as ManagerId, peer });
}

/** To a registry that reads all of what it is given, and notes what it has got. */
function pusherTo(sent: string[], bring: ImagePusherOptions['bring']): ImagePusher {
  const shelf: Shelf = {
    deliver: async ({ digest, read }) => {
      const hash = createHash('sha256');
      for await (const chunk of read(0)) hash.update(chunk);
      expect(`sha256:${hash.digest('hex')}`).toBe(digest);
      sent.push(digest);
      return 'sent';
    },
    putManifest: async (_, { digest }) => void sent.push(digest),
    close: async () => undefined,
  };
  const { blobs, records, pins } = images;
  const openUploads = async (): Promise<Shelf> => shelf;
  return new ImagePusher({ records, blobs, pins, bring, openUploads, clock: new FakeClock(5), log: noLog });
}
