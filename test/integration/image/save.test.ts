import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { archiveMessages } from '../../../manager/control/images.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { aRevision, aService, aSpec, aTemplate, CONTAINER } from '../../support/fixtures.ts';
import { archiveOf, dockerSaveOf, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { noRegistry } from '../../support/registry.ts';
import { streamOf, tarOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const WEB = imageOf({ layers: [layer([{ path: 'server', body: 'web' }]), layer([{ path: 'page', body: 'hello' }])] });
const API = imageOf({
  reference: 'registry:5000/shop/api:2',
  layers: [layer([{ path: 'server', body: 'web' }])],
  config: { Cmd: ['/api'], Labels: { tier: 'back' } },
});

interface Place {
  readonly store: MemoryStore;
  readonly images: ManagerImages;
  readonly clock: FakeClock;
}

let dir: string;
let here: Place;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-save-'));
  here = await place('here');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function place(name: string): Promise<Place> {
  const [store, clock] = [new MemoryStore(), new FakeClock(5)];
  const images = await ManagerImages.open({
    dir: join(dir, name),
    store,
    clock,
    log: noLog,
    openRepository: noRegistry,
  });
  return { store, images, clock };
}

async function saved(from: Place, refs: readonly string[], fetchBlob = noPeer): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of archiveMessages({ ...from, fetchBlob }, refs, never)) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

const noPeer = (digest: Digest): Promise<void> => Promise.reject(new Error(`nobody has ${digest}`));
const load = (at: Place, archive: Uint8Array) => at.images.load(streamOf(archive), never);
const execute = promisify(execFile);
const skopeo = async (...args: string[]): Promise<string> => (await execute('skopeo', args)).stdout;

describe('saving images', () => {
  it('gives an archive that loads elsewhere under the same names and digests', async () => {
    await load(here, archiveOf(WEB, API));
    await here.images.tag('web:1', 'web:stable', never);
    const archive = await saved(here, ['web', API.reference]);
    const there = await place('there');
    await load(there, archive);
    const names = there.images.list().map(({ reference, digest }) => [reference, digest]);
    expect(names).toEqual([
      [API.reference, API.digest],
      ['web:1', WEB.digest],
      ['web:stable', WEB.digest],
    ]);
    expect((await there.images.blobs.list()).toSorted()).toEqual((await here.images.blobs.list()).toSorted());
    expect(await saved(there, ['web', API.reference])).toEqual(archive);
  });

  it('keeps the digest of what came from an old `docker save`', async () => {
    const [image] = await load(here, dockerSaveOf({ layers: [layer([{ path: 'a', body: 'x' }])] }));
    const there = await place('there');
    expect((await load(there, await saved(here, ['web:1'])))[0]?.digest).toBe(image?.digest);
  });

  it('is read by skopeo as an OCI layout and as a docker archive, layer by layer', async () => {
    await load(here, archiveOf(WEB, API));
    const path = join(dir, 'saved.tar');
    await writeFile(path, await saved(here, ['web:1', API.reference]));
    const oci = JSON.parse(await skopeo('inspect', `oci-archive:${path}:1`));
    expect(oci.Digest).toBe(WEB.digest);
    const config = JSON.parse(await skopeo('inspect', '--config', `docker-archive:${path}:${API.reference}`));
    expect(config.rootfs).toEqual(JSON.parse(API.config).rootfs);
    await skopeo('copy', '--quiet', `oci-archive:${path}:1`, `oci:${join(dir, 'copy')}:web`);
    expect(JSON.parse(await skopeo('inspect', `oci:${join(dir, 'copy')}:web`)).Digest).toBe(WEB.digest);
  });

  it('fetches blobs that lie at another manager', async () => {
    await load(here, archiveOf(WEB));
    const there = await place('there');
    await load(there, archiveOf(WEB));
    const [blob] = here.store.view.get('image', 'web:1')?.value.blobs.slice(-1) ?? [];
    await there.images.blobs.remove(blob as Digest);
    const asked: Digest[] = [];
    const fetchBlob = async (digest: Digest): Promise<void> => {
      asked.push(digest);
      await there.images.blobs.fill({ digest }, () => here.images.blobs.read(digest), never);
    };
    expect(await saved(there, ['web:1'], fetchBlob)).toEqual(await saved(here, ['web:1']));
    expect(asked).toEqual([blob]);
  });

  it('keeps the blobs while they are sent, though the image is removed', async () => {
    await load(here, archiveOf(WEB));
    const parts = { ...here, fetchBlob: noPeer };
    const whole = await saved(here, ['web:1']);
    const chunks: Uint8Array[] = [];
    for await (const { chunk } of archiveMessages(parts, ['web:1'], never)) {
      if (chunks.length === 0) await here.images.remove('web:1', { force: false }, never);
      chunks.push(chunk as Uint8Array);
    }
    expect(Buffer.concat(chunks)).toEqual(whole);
    await here.images.collect(never);
    expect(await here.images.blobs.list()).toEqual([]);
  });

  it('names what it does not have', async () => {
    await expect(saved(here, ['none:1'])).rejects.toMatchObject({ code: 'not_found', message: /none:1/ });
    await expect(saved(here, [])).rejects.toMatchObject({ code: 'invalid' });
  });
});

describe('importing a root file system', () => {
  const rootfs = tarOf([
    { path: 'bin/', type: '5' },
    { path: 'bin/server', body: 'binary', mode: 0o755 },
  ]);
  const wish = { reference: 'mine', config: '{"Cmd":["/bin/server"],"Env":["A=1"]}', message: 'from a test' };
  const bring = (tar: Uint8Array, changes = {}) => here.images.import({ ...wish, ...changes }, streamOf(tar), never);

  it.each([
    ['plain', rootfs],
    ['gzip', gzipSync(rootfs)],
  ])('makes an image of one layer from a %s tar', async (_kind, tar) => {
    const image = await bring(tar);
    expect(image).toMatchObject({ reference: 'mine:latest', os: 'linux', loadedAt: 5 });
    const { config, manifest } = await here.images.describe('mine');
    const file = JSON.parse(config);
    expect(file.config).toEqual({ Cmd: ['/bin/server'], Env: ['A=1'] });
    expect(file.history).toEqual([{ created: file.created, comment: 'from a test' }]);
    expect(JSON.parse(manifest).layers).toHaveLength(1);
    expect(await readdir(here.images.blobs.incoming)).toEqual([]);
  });

  it.each([
    ['no tar at all', Buffer.alloc(1_024, 'x'), {}, /checksum/],
    ['nothing', Buffer.alloc(0), {}, /is empty/],
    ['a path that leaves the root', tarOf([{ path: '../evil' }]), {}, /leaves the root/],
    ['a config that is no JSON', rootfs, { config: '{' }, /no JSON/],
    ['a config of wrong types', rootfs, { config: '{"Cmd":"x"}' }, /Cmd/],
    ['a name with a digest', rootfs, { reference: `mine@${WEB.digest}` }, /names a digest/],
  ])('refuses %s and keeps nothing', async (_what, tar, changes, why) => {
    await expect(bring(tar, changes)).rejects.toMatchObject({ code: 'invalid', message: expect.stringMatching(why) });
    expect(await readdir(here.images.blobs.incoming)).toEqual([]);
    expect(await here.images.blobs.list()).toEqual([]);
  });
});

describe('removing images', () => {
  const use = (digest: string): void => {
    const template = aTemplate({ container: { ...CONTAINER, imageDigest: digest as Digest } });
    here.store.put('revision', '1.1', aRevision(aService('1', aSpec('shop', { template }))));
  };
  const wish = { all: true, until: 0, labels: [], labelsNot: [], plan: false };

  it('takes every name of a digest with force, and says what went', async () => {
    await load(here, archiveOf(WEB));
    await here.images.tag('web:1', 'web:stable', never);
    const prefix = WEB.digest.slice(7, 19);
    await expect(here.images.remove(prefix, { force: false }, never)).rejects.toMatchObject({ code: 'conflict' });
    const removed = await here.images.remove(prefix, { force: true }, never);
    expect(removed).toMatchObject({ untagged: ['web:1', 'web:stable'], deleted: [WEB.digest] });
    expect(removed.reclaimedBytes).toBe([...WEB.blobs.values()].reduce((sum, blob) => sum + blob.length, 0));
  });

  it('prunes what nobody uses, by age and label', async () => {
    await load(here, archiveOf(WEB, API));
    use(WEB.digest);
    const labelled = await here.images.prune({ ...wish, labelsNot: ['tier=back'] }, never);
    expect(labelled.untagged).toEqual([]);
    expect((await here.images.prune({ ...wish, until: 5 }, never)).untagged).toEqual([]);
    const pruned = await here.images.prune({ ...wish, labels: ['tier'] }, never);
    expect(pruned).toMatchObject({ untagged: [API.reference], deleted: [API.digest] });
    expect(here.images.list().map(({ reference }) => reference)).toEqual(['web:1']);
  });

  it('leaves images with a name alone unless asked for all', async () => {
    await load(here, archiveOf(WEB));
    expect((await here.images.prune({ ...wish, all: false }, never)).untagged).toEqual([]);
    expect(here.images.list()).toHaveLength(1);
  });
});
