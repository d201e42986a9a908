/** Images from a real registry: Debian's docker-registry, filled by skopeo. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import type { Login } from '../../../common/registry/endpoint.ts';
import { placeOf } from '../../../common/registry/place.ts';
import { Registry } from '../../../common/registry/registry.ts';
import { findImage } from '../../../manager/images/image-records.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import type { BlobProgress } from '../../../manager/images/pull.ts';
import { Registries } from '../../../manager/images/registries.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { archiveOf, type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { LOGIN, TestRegistry } from '../../support/registry.ts';

const never = new AbortController().signal;
const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const BASE = layer([{ path: 'base', body: 'shared'.repeat(100_000) }]);

const built = (body: string, more: object = {}): BuiltImage =>
  imageOf({ layers: [BASE, layer([{ path: 'server', body, mode: 0o755 }])], ...more });

let plain: TestRegistry;
let closed: TestRegistry;
let dir: string;
let store: MemoryStore;
let images: ManagerImages;

beforeAll(async () => {
  [plain, closed] = await Promise.all([TestRegistry.start(), TestRegistry.start({ tls: true, login: true })]);
});
afterAll(() => Promise.all([plain?.stop(), closed?.stop()]));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-pull-'));
  store = new MemoryStore();
  const clock = new FakeClock(5);
  const settings = { insecure: [], certs: join(dir, 'certs'), mirrors: new Map() };
  const registries = new Registries({ settings, logins: { of: () => undefined }, clock, log: noLog });
  const open = (name: string) => registries.repository(name);
  images = await ManagerImages.open({ dir, store, clock, log: noLog, openRepository: open });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function pull(reference: string) {
  const progress: BlobProgress[] = [];
  const pulled = await images.pull(reference, (each) => progress.push(each), never);
  return { ...pulled, progress };
}

/** Of an index with the image, as for our platform, beside one for others. */
function indexOf(image: BuiltImage, other: BuiltImage): string {
  const entry = ({ digest, manifest }: BuiltImage, platform: object) => ({
    mediaType: MANIFEST,
    digest,
    size: Buffer.byteLength(manifest),
    platform,
  });
  const { architecture, os } = JSON.parse(image.config) as { architecture: string; os: string };
  const manifests = [entry(other, { os: 'linux', architecture: 'mips' }), entry(image, { os, architecture })];
  return JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests });
}

describe('a pull', () => {
  it('brings what was pushed, by the digest that others see, and every blob of it', async () => {
    const image = built('one');
    const { Digest: seen } = await plain.push(archiveOf(image), 'demo/web:1');
    const { image: pulled, isNew, progress } = await pull(`${plain.host}/demo/web:1`);
    expect({ ...pulled, isNew }).toMatchObject({ digest: seen, reference: `${plain.host}/demo/web:1`, isNew: true });
    expect(images.list()).toEqual([pulled]);
    for (const blob of pulled.blobs) expect(await images.blobs.has(blob)).toBe(true);
    expect(new Set(progress.map(({ digest }) => digest))).toEqual(new Set(pulled.blobs.slice(1)));
    expect(progress.every(({ existed }) => !existed)).toBe(true);
  });

  it('asks for nothing that is here, and says that nothing is new', async () => {
    await plain.push(archiveOf(built('one')), 'demo/web:1');
    await pull(`${plain.host}/demo/web:1`);
    const { isNew, progress } = await pull(`${plain.host}/demo/web:1`);
    expect(isNew).toBe(false);
    expect(progress.every(({ existed }) => existed)).toBe(true);
  });

  it('follows a tag that has moved, and shares the layers that stayed', async () => {
    await plain.push(archiveOf(built('one')), 'demo/web:1');
    const first = await pull(`${plain.host}/demo/web:1`);
    await plain.push(archiveOf(built('two')), 'demo/web:1');
    const { image, isNew, progress } = await pull(`${plain.host}/demo/web:1`);
    expect(isNew).toBe(true);
    expect(image.digest).not.toBe(first.image.digest);
    expect(progress.filter(({ existed }) => existed)).toHaveLength(1);
    expect(images.list()).toEqual([image]);
  });

  it('takes our platform’s image of an index', async () => {
    const image = built('mine');
    const other = built('theirs', { arch: 'mips' });
    await plain.push(archiveOf(image), 'demo/many:mine');
    await plain.push(archiveOf(other), 'demo/many:theirs');
    await plain.put('demo/many', 'all', INDEX, indexOf(image, other));
    const index = indexOf(image, other);
    const { image: pulled } = await pull(`${plain.host}/demo/many:all`);
    expect(pulled).toMatchObject({ digest: image.digest, indexDigest: digestOf(index) });
    // Whichever digest a service names, it is this image.
    for (const digest of [digestOf(index), image.digest])
      expect(findImage(store.view, `${pulled.reference}@${digest}`)).toEqual(pulled);
    expect((await pull(`${pulled.reference}@${digestOf(index)}`)).isNew).toBe(false);
    await expect(pull(`${plain.host}/demo/many:theirs`)).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('is for linux/mips'),
    });
  });

  it('takes the one that a digest names, wherever its tag points by now', async () => {
    const { Digest: first } = await plain.push(archiveOf(built('one')), 'demo/pinned:1');
    await plain.push(archiveOf(built('two')), 'demo/pinned:1');
    const { image } = await pull(`${plain.host}/demo/pinned:1@${first}`);
    expect(image).toMatchObject({ digest: first, reference: `${plain.host}/demo/pinned:1` });
  });

  it('survives that garbage is collected meanwhile, and two of one image at once share the work', async () => {
    await plain.push(archiveOf(built('three')), 'demo/web:3');
    const both = Promise.all([pull(`${plain.host}/demo/web:3`), pull(`${plain.host}/demo/web:3`)]);
    for (let count = 0; count < 20; count += 1) await images.collect(never);
    const [one, two] = await both;
    expect(one.image.digest).toBe(two.image.digest);
    for (const blob of one.image.blobs) expect(await images.blobs.has(blob)).toBe(true);
  });

  it.each([
    ['an unknown tag', 'demo/web:none'],
    ['an unknown repository', 'demo/none:1'],
    ['an unknown digest', `demo/web:1@sha256:${'0'.repeat(64)}`],
  ])('says what is not there: %s', async (_, name) => {
    await plain.push(archiveOf(built('one')), 'demo/web:1');
    await expect(pull(`${plain.host}/${name}`)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(`registry ${plain.host} has no manifest`),
    });
    expect(images.list()).toEqual([]);
  });
});

describe('trust and logins', () => {
  const repository = (host: string, more: { ca?: string; login?: Login } = {}) =>
    new Registry({ place: placeOf(`${host}/demo/web`), clock: new FakeClock(), tries: 1, ...more });
  const digest = async (registry: Registry): Promise<Digest> => {
    try {
      return (await registry.manifest('1', never)).digest;
    } finally {
      await registry.close();
    }
  };

  it('reads from a closed registry with its CA and a login, and without either does not', async () => {
    const image = built('closed');
    await closed.push(archiveOf(image), 'demo/web:1');
    const ca = await closed.ca();
    expect(await digest(repository(closed.strangeHost, { ca, login: LOGIN }))).toBe(image.digest);
    await expect(digest(repository(closed.strangeHost, { login: LOGIN }))).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('cannot be trusted'),
      hint: expect.stringContaining('--registry-certs'),
    });
    await expect(digest(repository(closed.strangeHost, { ca }))).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('asks for a login for demo/web'),
    });
    const login = { ...LOGIN, password: 'wrong' };
    await expect(digest(repository(closed.strangeHost, { ca, login }))).rejects.toMatchObject({
      code: 'denied',
      message: expect.stringContaining('refuses the login of "ada"'),
    });
  });

  it('looks at no certificate of the machine itself, and speaks without TLS where there is none', async () => {
    const image = built('closed');
    await closed.push(archiveOf(image), 'demo/web:1');
    expect(await digest(repository(closed.host, { login: LOGIN }))).toBe(image.digest);
    await plain.push(archiveOf(image), 'demo/web:1');
    await expect(digest(repository(plain.strangeHost))).rejects.toMatchObject({ code: 'denied' });
  });

  it('takes a registry’s CA from its folder', async () => {
    await mkdir(join(dir, 'certs', closed.strangeHost), { recursive: true });
    await writeFile(join(dir, 'certs', closed.strangeHost, 'ca.crt'), await closed.ca());
    await expect(pull(`${closed.strangeHost}/demo/web:1`)).rejects.toMatchObject({
      message: expect.stringContaining('asks for a login'),
    });
  });
});
