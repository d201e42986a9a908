import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { LAYER_ZSTD_TYPE } from '../../../common/oci/manifest.ts';
import { findImage } from '../../../manager/images/image-records.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { aRevision, aService, aSpec, aTemplate, CONTAINER } from '../../support/fixtures.ts';
import {
  archiveOf,
  blobParts,
  dockerSaveOf,
  type ImageSpec,
  imageOf,
  indexPart,
  layer,
} from '../../support/image-archive.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { noRegistry } from '../../support/registry.ts';
import { streamOf, type TarPart, tarOf, zstdOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const PLAIN: ImageSpec = { layers: [layer([{ path: 'server', body: 'binary', mode: 0o755 }])] };
let dir: string;
let store: MemoryStore;
let images: ManagerImages;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-load-'));
  store = new MemoryStore();
  const limits = { archiveLimits: { bytes: 1_000_000, entries: 50 }, layerLimits: { bytes: 100_000, entries: 20 } };
  images = await ManagerImages.open({
    dir,
    store,
    clock: new FakeClock(5),
    log: noLog,
    openRepository: noRegistry,
    ...limits,
  });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const load = (archive: Uint8Array) => images.load(streamOf(archive), never);

/** Nothing of a refused archive is kept, on disk or in the store. */
async function expectRefused(archive: Uint8Array, why: string | RegExp): Promise<void> {
  await expect(load(archive)).rejects.toMatchObject({ code: 'invalid', message: expect.stringMatching(why) });
  expect(await images.blobs.list()).toEqual([]);
  expect(await readdir(images.blobs.incoming)).toEqual([]);
  expect(images.list()).toEqual([]);
}

/** A sound archive but for the one image's spec. */
const refusedImage = (spec: ImageSpec, why: string | RegExp) => expectRefused(archiveOf(imageOf(spec)), why);
const refusedLayer = (parts: readonly TarPart[], why: string | RegExp) => refusedImage({ layers: [layer(parts)] }, why);

describe('loading an image archive', () => {
  it('stores the blobs of an OCI layout by digest, and the image by name', async () => {
    const built = imageOf(PLAIN);
    const [image] = await load(archiveOf(built));
    expect(image).toMatchObject({ reference: 'web:1', digest: built.digest, os: 'linux', loadedAt: 5 });
    expect(image?.size).toBe([...built.blobs.values()].reduce((sum, blob) => sum + blob.length, 0));
    expect((await images.blobs.list()).toSorted()).toEqual([...built.blobs.keys()].toSorted());
    expect(store.view.get('image', 'web:1')?.value).toEqual(image);
    expect(images.list()).toEqual([image]);
    expect(await readdir(images.blobs.incoming)).toEqual([]);
  });

  it('takes layers and archives packed with zstd', async () => {
    const packed = { ...layer([{ path: 'server', body: 'other' }]), mediaType: LAYER_ZSTD_TYPE };
    const image = imageOf({ layers: [{ ...packed, blob: zstdOf(packed.tar) }] });
    expect((await load(zstdOf(archiveOf(image)))).map(({ digest }) => digest)).toEqual([image.digest]);
    const [saved] = await load(
      dockerSaveOf({ reference: 'old:1', layers: [{ tar: zstdOf(packed.tar), diffId: digestOf(packed.tar) }] }),
    );
    expect(await images.blobs.text(saved?.digest as Digest, 10_000)).toContain(LAYER_ZSTD_TYPE);
  });

  it('takes the archive gzipped as well', async () => {
    await load(gzipSync(archiveOf(imageOf(PLAIN))));
    expect(findImage(store.view, 'docker.io/library/web:1').digest).toBe(imageOf(PLAIN).digest);
  });

  it('takes what `docker save` wrote before Docker 25, always under the same digest', async () => {
    const [first] = await load(dockerSaveOf(PLAIN));
    const [second] = await load(gzipSync(dockerSaveOf(PLAIN)));
    expect(first).toMatchObject({ reference: 'web:1' });
    expect(second?.digest).toBe(first?.digest);
    expect(await images.blobs.list()).toHaveLength(3);
  });

  it('takes what `docker save` writes today: an index with full names beside manifest.json', async () => {
    const built = imageOf(PLAIN);
    const manifests = [
      {
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        digest: built.digest,
        size: built.manifest.length,
        annotations: {
          'io.containerd.image.name': 'docker.io/library/web:3',
          'org.opencontainers.image.ref.name': '3',
        },
      },
    ];
    const list = [{ Config: 'blobs/sha256/x', RepoTags: ['web:3'], Layers: [] }];
    const documents = [
      { path: 'index.json', body: JSON.stringify({ schemaVersion: 2, manifests }) },
      { path: 'manifest.json', body: JSON.stringify(list) },
    ];
    const [image] = await load(tarOf([...blobParts(built.blobs), ...documents]));
    expect(image).toMatchObject({ reference: 'web:3', digest: built.digest });
  });

  it('chooses our platform from a nested index and passes over attestations', async () => {
    const [ours, theirs] = [imageOf(PLAIN), imageOf({ ...PLAIN, arch: 's390x' })];
    const entry = (image: typeof ours, architecture: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: image.digest,
      size: image.manifest.length,
      platform: { os: 'linux', architecture },
    });
    const arch = JSON.parse(ours.config).architecture as string;
    const inner = JSON.stringify({ schemaVersion: 2, manifests: [entry(theirs, 's390x'), entry(ours, arch)] });
    const parts = blobParts(new Map([...ours.blobs, ...theirs.blobs]));
    const digest = digestOf(inner);
    const top = {
      schemaVersion: 2,
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          digest,
          size: inner.length,
          annotations: { 'org.opencontainers.image.ref.name': 'web:1' },
        },
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest,
          size: 1,
          platform: { os: 'unknown', architecture: 'unknown' },
        },
      ],
    };
    const archive = tarOf([
      ...parts,
      { path: `blobs/sha256/${digest.slice(7)}`, body: inner },
      { path: 'index.json', body: JSON.stringify(top) },
    ]);
    expect((await load(archive))[0]?.digest).toBe(ours.digest);
  });

  it('loads several images of one archive, or none of them', async () => {
    const [web, api] = [imageOf(PLAIN), imageOf({ ...PLAIN, reference: 'api:1', config: { Cmd: ['/api'] } })];
    const bad = imageOf({ reference: 'bad:1', layers: [layer([{ path: '../evil' }])] });
    await expectRefused(archiveOf(web, bad), /layer .* of image "bad:1" is refused/);
    expect((await load(archiveOf(web, api))).map((image) => image.reference)).toEqual(['web:1', 'api:1']);
  });

  it('refuses files that are no image archive', async () => {
    await expectRefused(Buffer.from('hello'), /the image archive is not a sound tar archive/);
    await expectRefused(Buffer.alloc(0), /neither index.json nor manifest.json/);
    await expectRefused(tarOf([{ path: 'readme', body: 'x' }]), /neither index.json nor manifest.json/);
    await expectRefused(tarOf([{ path: 'index.json', body: '{' }]), /index.json is not JSON/);
    await expectRefused(tarOf([{ path: 'index.json', body: '{"schemaVersion":2,"manifests":[]}' }]), /holds no image/);
    await expectRefused(
      tarOf([{ path: 'index.json', body: '{"schemaVersion":1,"manifests":[]}' }]),
      /schemaVersion is not 2/,
    );
    await expectRefused(tarOf([{ path: '../../evil', body: 'x' }]), /leaves it by "\.\."/);
  });

  it('refuses a truncated archive', async () => {
    const archive = archiveOf(imageOf(PLAIN));
    await expectRefused(archive.subarray(0, 530), /cut off/);
    const packed = gzipSync(archive);
    await expectRefused(packed.subarray(0, packed.length / 2), /broken gzip/);
  });

  it('refuses a blob that is not what its name says, naming it', async () => {
    const built = imageOf(PLAIN);
    const [digest] = [...built.blobs.keys()] as [string];
    const spoilt = new Map(built.blobs).set(digest, Buffer.from('spoilt'));
    await expectRefused(tarOf([...blobParts(spoilt), indexPart([built])]), new RegExp(`blob ${digest} is corrupt`));
  });

  it('refuses an archive that lacks a blob, naming it', async () => {
    const built = imageOf(PLAIN);
    for (const digest of built.blobs.keys()) {
      const fewer = new Map(built.blobs);
      fewer.delete(digest);
      await expectRefused(
        tarOf([...blobParts(fewer), indexPart([built])]),
        new RegExp(`incomplete: .*${digest}.* is missing`),
      );
    }
  });

  it('refuses a descriptor with a wrong size', async () => {
    const built = imageOf(PLAIN);
    const index = JSON.parse(String(indexPart([built]).body)) as { manifests: { size: number }[] };
    (index.manifests[0] as { size: number }).size = 0;
    const part = { path: 'index.json', body: JSON.stringify(index) };
    await expectRefused(tarOf([...blobParts(built.blobs), part]), /has \d+ bytes instead of 0/);
  });

  it('refuses a layer whose content is not what the config says', async () => {
    await refusedImage(
      { layers: [{ ...layer([]), diffId: `sha256:${'0'.repeat(64)}` }] },
      /unpacked, is corrupt: its digest should be sha256:000/,
    );
    const truncated = gzipSync(tarOf([{ path: 'a', body: 'x'.repeat(900) }]));
    await refusedImage(
      { layers: [{ ...layer([]), blob: truncated.subarray(0, 40) }] },
      /layer sha256:.* of image "web:1" is a broken gzip/,
    );
    await refusedImage({ layers: [{ ...layer([]), blob: Buffer.alloc(0) }] }, /unpacked, is corrupt/);
  });

  it('refuses layers whose entries leave the root', async () => {
    await refusedLayer(
      [{ path: '../evil', body: 'x' }],
      /of image "web:1" is refused: entry "\.\.\/evil" leaves the root/,
    );
    await refusedLayer([{ path: 'x', type: '1', link: '/etc/shadow' }], /points to "\/etc\/shadow", which is outside/);
    await refusedLayer([{ path: 'x', type: '1', link: '../../etc/shadow' }], /leaves the root/);
  });

  it('bounds entries and bytes of layer and archive', async () => {
    await refusedLayer(
      Array.from({ length: 21 }, (_, at) => ({ path: `f${at}` })),
      /more than 20 entries/,
    );
    await refusedLayer([{ path: 'zeros', body: Buffer.alloc(100_001) }], /more than 100000 bytes/);
    await expectRefused(tarOf(Array.from({ length: 51 }, (_, at) => ({ path: `f${at}` }))), /more than 50 entries/);
    await expectRefused(gzipSync(tarOf([{ path: 'f', body: Buffer.alloc(1_000_001) }])), /more than 1000000 bytes/);
  });

  it('refuses what it does not know or cannot run, saying what it found', async () => {
    await refusedImage({ ...PLAIN, arch: 'riscv64' }, /image "web:1" is for linux\/riscv64, not for/);
    await refusedImage({ ...PLAIN, os: 'windows' }, /is for windows\//);
    const xz = 'application/vnd.oci.image.layer.v1.tar+xz';
    await refusedImage(
      { layers: [{ ...layer([]), mediaType: xz }] },
      /unknown media type "application\/vnd.oci.image.layer.v1.tar\+xz"/,
    );
    await refusedImage({ layers: [] }, /layers is empty/);
    await refusedImage({ ...PLAIN, config: { Env: 'A=b' } }, /config\.Env is not a list/);
    await refusedImage({ ...PLAIN, reference: 'WEB:1' }, /capitals/);
  });

  it('names the image that has no name', async () => {
    const built = imageOf(PLAIN);
    const manifests = [
      { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: built.digest, size: built.manifest.length },
    ];
    const part = { path: 'index.json', body: JSON.stringify({ schemaVersion: 2, manifests }) };
    await expectRefused(
      tarOf([...blobParts(built.blobs), part]),
      new RegExp(`image ${built.digest} of the archive has no name`),
    );
  });

  it('stops and leaves nothing when the upload breaks off', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield archiveOf(imageOf(PLAIN)).subarray(0, 600);
      throw new ClusterError('unavailable', 'the caller has gone');
    }
    await expect(images.load(broken(), never)).rejects.toThrow('the caller has gone');
    expect(await readdir(images.blobs.incoming)).toEqual([]);
  });

  it('ends in images or an invalid for any spoilt archive', async () => {
    const sound = archiveOf(imageOf(PLAIN));
    const changes = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(changes, fc.boolean(), async (spots, packed) => {
        const bytes = Buffer.from(sound);
        for (const [at, byte] of spots) bytes[at] = byte;
        try {
          await load(packed ? gzipSync(bytes) : bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid' });
        }
        expect(await readdir(images.blobs.incoming)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });
});

describe('images in the cluster', () => {
  const use = (service: string, digest: string): void => {
    const template = aTemplate({ container: { ...CONTAINER, imageDigest: digest as Digest } });
    const revision = aRevision(aService('1', aSpec(service, { template })));
    store.put('revision', `${revision.serviceId}.1`, revision);
  };

  it('says how to get an image that is absent', () => {
    expect(() => findImage(store.view, 'nope:1')).toThrow(
      expect.objectContaining({
        code: 'not_found',
        message: 'image "nope:1" is not in the cluster',
        hint: 'pull it first: covey image pull nope:1; or load it: covey image load FILE',
      }),
    );
  });

  it('gives an image more names, and keeps it until the last has gone', async () => {
    const [web] = await load(archiveOf(imageOf(PLAIN)));
    const tagged = await images.tag('web', 'registry:5000/shop/web:2', never).catch((cause: unknown) => cause);
    expect(tagged).toMatchObject({ code: 'not_found', message: 'image "web:latest" is not in the cluster' });
    expect(await images.tag('web:1', 'registry:5000/shop/web:2', never)).toEqual({
      ...web,
      reference: 'registry:5000/shop/web:2',
    });
    await images.remove('web:1', { force: false }, never);
    expect((await images.describe('registry:5000/shop/web:2')).references).toEqual(['registry:5000/shop/web:2']);
    await images.remove('registry:5000/shop/web:2', { force: false }, never);
    expect(await images.blobs.list()).toEqual([]);
  });

  it('takes a name from the image that had it, unless a digest is given for one', async () => {
    const other = imageOf({ ...PLAIN, reference: 'api:1', config: { Cmd: ['/api'] } });
    await load(archiveOf(imageOf(PLAIN), other));
    await images.tag(other.digest.slice(7, 19), 'web:1', never);
    expect(images.list().map(({ digest }) => digest)).toEqual([other.digest, other.digest]);
    await expect(images.tag('api:1', `web:1@${other.digest}`, never)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('names a digest'),
    });
    await expect(images.tag('api:1', 'Web:1', never)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('tells an image’s own words, and says when they lie at other managers', async () => {
    const web = imageOf(PLAIN);
    await load(archiveOf(web));
    expect(await images.describe('web:1')).toMatchObject({
      image: { digest: web.digest },
      references: ['web:1'],
      manifest: web.manifest,
      config: web.config,
    });
    await images.blobs.remove(web.digest as Digest);
    await expect(images.describe('web:1')).rejects.toMatchObject({
      code: 'unavailable',
      message: 'image "web:1" has not been copied to this manager yet',
    });
  });

  it('removes an image and the blobs that no other names', async () => {
    const [web, api] = [imageOf(PLAIN), imageOf({ ...PLAIN, reference: 'api:1', config: { Cmd: ['/api'] } })];
    await load(archiveOf(web, api));
    await images.remove('web:1', { force: false }, never);
    expect(images.list().map((image) => image.reference)).toEqual(['api:1']);
    expect((await images.blobs.list()).toSorted()).toEqual([...api.blobs.keys()].toSorted());
    await images.remove(api.digest.slice(7, 19), { force: false }, never);
    expect(await images.blobs.list()).toEqual([]);
  });

  it('refuses to remove an image that a service uses, naming the service', async () => {
    const [image] = await load(archiveOf(imageOf(PLAIN)));
    use('shop', image?.digest ?? '');
    await expect(images.remove('web:1', { force: false }, never)).rejects.toMatchObject({
      code: 'conflict',
      message: 'image "web:1" is used by service "shop"',
    });
  });

  it('keeps the old image of a name that was loaded anew while a service uses it, then collects it', async () => {
    const [old] = await load(archiveOf(imageOf(PLAIN)));
    use('shop', old?.digest ?? '');
    const [fresh] = await load(archiveOf(imageOf({ ...PLAIN, config: { Cmd: ['/new'] } })));
    await images.collect(never);
    expect(images.list()).toEqual([fresh]);
    expect(await images.blobs.has(old?.digest as Digest)).toBe(true);
    expect(findImage(store.view, `web:1@${old?.digest}`).digest).toBe(old?.digest);
    store.commitNow([
      [...store.view.all('revision')].map(
        ({ value }) => ({ op: 'delete', kind: 'revision', id: `${value.serviceId}.1` }) as const,
      ),
    ]);
    await images.collect(never);
    expect(await images.blobs.has(old?.digest as Digest)).toBe(false);
    expect(await images.blobs.has(fresh?.digest as Digest)).toBe(true);
  });

  it('removes at its start what an interrupted upload left', async () => {
    await mkdtemp(join(images.blobs.incoming, 'upload-'));
    await ManagerImages.open({ dir, store, clock: new FakeClock(), log: noLog, openRepository: noRegistry });
    expect(await readdir(images.blobs.incoming)).toEqual([]);
  });
});
