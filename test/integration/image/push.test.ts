/** Images to a real registry, Debian's docker-registry with TLS and a login, and by skopeo out of it and back. */

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { Registry } from '../../../common/registry/registry.ts';
import { Uploads } from '../../../common/registry/uploads.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { ImagePusher, type PushedBlob } from '../../../manager/images/push.ts';
import { Registries } from '../../../manager/images/registries.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { archiveOf, type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { LOGIN, TestRegistry } from '../../support/registry.ts';
import { streamOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const BASE = layer([{ path: 'base', body: 'shared'.repeat(10_000) }]);

const built = (reference: string, body: string): BuiltImage =>
  imageOf({ reference, layers: [BASE, layer([{ path: 'server', body, mode: 0o755 }])] });

let registry: TestRegistry;
let dir: string;
let images: ManagerImages;
let pusher: ImagePusher;
let brought: Digest[];

beforeAll(async () => {
  registry = await TestRegistry.start({ tls: true, login: true });
});
afterAll(() => registry?.stop());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-push-'));
  ({ images, pusher } = await aManager('own'));
  brought = [];
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** One with a store and a disk of its own. */
async function aManager(name: string) {
  const store = new MemoryStore();
  const clock = new FakeClock(5);
  const settings = { insecure: [], certs: join(dir, 'certs'), mirrors: new Map() };
  const registries = new Registries({ settings, logins: { of: () => LOGIN }, clock, log: noLog });
  const openRepository = (repository: string) => registries.repository(repository);
  const own = await ManagerImages.open({ dir: join(dir, name), store, clock, log: noLog, openRepository });
  const { blobs, records, pins } = own;
  const openUploads = (repository: string, from: readonly string[]) => registries.uploads(repository, from);
  const bring = async (digest: Digest): Promise<void> => void brought.push(digest);
  return { images: own, pusher: new ImagePusher({ records, blobs, pins, bring, openUploads, clock, log: noLog }) };
}

async function load(...some: readonly BuiltImage[]): Promise<void> {
  await images.load(streamOf(archiveOf(...some)), never);
}

async function push(reference: string) {
  const told: PushedBlob[] = [];
  const { image, size } = await pusher.push(reference, (each) => told.push(each), never);
  const outcomes = new Map(told.filter(({ outcome }) => outcome !== undefined).map((each) => [each.digest, each]));
  return { image, size, of: (digest: string | undefined) => outcomes.get(digest as Digest), outcomes };
}

const layersOf = ({ manifest }: BuiltImage): readonly { digest: Digest; size: number }[] =>
  (JSON.parse(manifest) as { layers: { digest: Digest; size: number }[] }).layers;

describe('a push', () => {
  it('brings every byte there: skopeo sees its digest, and what it takes out and puts back is the same image', async () => {
    const image = built(`${registry.host}/demo/web:1`, 'one');
    await load(image);
    const { size, outcomes, image: pushed } = await push(image.reference);
    expect({ size, digest: pushed.digest }).toEqual({ size: Buffer.byteLength(image.manifest), digest: image.digest });
    expect([...outcomes.values()].map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
    expect((await registry.inspect('demo/web:1')).Digest).toBe(image.digest);
    await registry.roundTrip('demo/web:1', 'demo/back:1');
    const { images: other } = await aManager('other');
    const { image: back } = await other.pull(`${registry.host}/demo/back:1`, () => undefined, never);
    expect(back.digest).toBe(image.digest);
  });

  it('sends nothing that is there, and takes from another repository what that one has', async () => {
    const first = built(`${registry.host}/demo/first:1`, 'first');
    const second = built(`${registry.host}/demo/second:1`, 'second');
    await load(first, second);
    await push(first.reference);
    const again = await push(first.reference);
    expect([...again.outcomes.values()].every(({ outcome }) => outcome === 'exists')).toBe(true);
    const { of } = await push(second.reference);
    const [base, own] = layersOf(second);
    expect(of(base?.digest)).toMatchObject({ outcome: 'mounted', from: 'demo/first' });
    expect(of(own?.digest)).toMatchObject({ outcome: 'sent' });
    expect((await registry.inspect('demo/second:1')).Digest).toBe(second.digest);
  });

  it('fetches what this manager lacks, and knows afterwards that the image is in its registry', async () => {
    const image = built(`${registry.host}/demo/far:1`, 'far');
    await load(image);
    expect(images.list()[0]?.isInRegistry).toBeUndefined();
    const [base] = layersOf(image);
    await images.blobs.remove(base?.digest as Digest);
    await expect(push(image.reference)).rejects.toMatchObject({ code: 'not_found' });
    expect(brought).toEqual([base?.digest]);
    await load(image);
    await push(image.reference);
    expect(images.list()[0]?.isInRegistry).toBe(true);
  });

  it('survives that garbage is collected, and the image removed, meanwhile', async () => {
    const image = built(`${registry.host}/demo/gone:1`, 'gone');
    await load(image);
    const pushed = push(image.reference);
    await images.remove(image.reference, { force: false }, never);
    expect((await pushed).image.digest).toBe(image.digest);
    expect(images.list()).toEqual([]);
    await images.collect(never);
    expect(await images.blobs.list()).toEqual([]);
  });

  it.each([
    ['what the cluster has not', 'never/loaded:1', { code: 'not_found', field: 'image' }],
    ['a digest', `web@sha256:${'0'.repeat(64)}`, { code: 'invalid', field: 'image' }],
  ])('refuses %s', async (_, name, error) => {
    await expect(push(name)).rejects.toMatchObject(error);
  });
});

describe('a large blob', () => {
  const bytes = Buffer.alloc(1_000_003, 'abcdefghijk');
  const digest = digestOf(bytes);
  const CHUNK = 100_000;
  let clock: FakeClock;
  let server: Server | undefined;

  beforeEach(() => {
    clock = new FakeClock();
    // Waits are of no interest here.
    Object.assign(clock, { sleep: async () => undefined });
  });
  afterEach(() => server?.close());

  const parcel = () => ({
    digest,
    size: bytes.length,
    read: (offset: number): AsyncIterable<Uint8Array> => streamOf(bytes.subarray(offset)),
  });

  /** What the registry gives for the blob. */
  async function found(repository: string): Promise<string> {
    const reader = new Registry({ place: placeOf(`${registry.host}/${repository}`), clock, login: LOGIN });
    const pieces: Uint8Array[] = [];
    for await (const piece of reader.blob(digest, 0, never)) pieces.push(piece);
    await reader.close();
    return digestOf(Buffer.concat(pieces));
  }

  it('goes in chunks', async () => {
    const sent: number[] = [];
    const place = placeOf(`${registry.host}/demo/chunks`);
    const uploads = new Uploads({ place, clock, login: LOGIN, chunkBytes: CHUNK });
    expect(await uploads.deliver({ ...parcel(), onProgress: (at) => sent.push(at) }, never)).toBe('sent');
    expect(await uploads.deliver(parcel(), never)).toBe('exists');
    await uploads.close();
    expect(sent.at(-1)).toBe(bytes.length);
    expect(await found('demo/chunks')).toBe(digest);
  });

  it('that is cut off again and again arrives whole, though this registry gives up what breaks off within a chunk', async () => {
    let passed = 0;
    let cuts = 0;
    server = createServer((near) => {
      const far = createConnection(registry.port, '127.0.0.1');
      near.on('data', (piece) => {
        passed += piece.length;
        far.write(piece);
        if (passed < 300_000 || cuts === 3) return;
        passed = 0;
        cuts += 1;
        near.destroy();
      });
      far.pipe(near);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const)
        one.on('error', () => undefined).on('close', () => other.destroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const begun: number[] = [];
    const read = (offset: number): AsyncIterable<Uint8Array> => {
      begun.push(offset);
      return streamOf(bytes.subarray(offset));
    };
    const place = placeOf(`127.0.0.1:${port}/demo/cut`);
    const uploads = new Uploads({ place, clock, login: LOGIN, chunkBytes: CHUNK });
    expect(await uploads.deliver({ ...parcel(), read }, never)).toBe('sent');
    await uploads.close();
    expect(cuts).toBe(3);
    expect(begun.filter((offset) => offset === 0)).toHaveLength(4);
    expect(await found('demo/cut')).toBe(digest);
  });
});
