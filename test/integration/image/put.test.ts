import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ImageServer, putImage, resolveImage } from '../../../agent/image/put.ts';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { imageDoor } from '../../../manager/images/image-door.ts';
import { ManagerImages } from '../../../manager/images/manager-images.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { MemoryEtcd } from '../../support/memory-store.ts';
import { streamOf } from '../../support/tar.ts';

const never = new AbortController().signal;
const log = noLog;
const BASE = layer([{ path: 'base', body: 'b'.repeat(3_000_000) }]);
const OLD = imageOf({ layers: [BASE], reference: 'old:1' });
const WEB = imageOf({ layers: [BASE, layer([{ path: 'web', body: 'w'.repeat(100_000) }])], reference: 'web:1' });

let dir: string;
let images: ManagerImages;
let server: ImageServer;
let sent: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-put-'));
  const store = new MemoryEtcd().connect();
  const openRepository = async (): Promise<never> => {
    throw new ClusterError('unavailable', 'the registry is away');
  };
  images = await ManagerImages.open({ dir, store, clock: new FakeClock(), log, openRepository });
  const peers = { fetch: () => Promise.reject(new ClusterError('not_found', 'nobody has it')) };
  const door = imageDoor({ store, images, peers });
  sent = 0;
  server = {
    async *putImage(requests, { signal }) {
      async function* counted() {
        for await (const request of requests) {
          sent += request.chunk?.length ?? 0;
          yield request;
        }
      }
      const answers = door.putImage(counted() as never, { peer: undefined, signal });
      for await (const answer of answers) yield answer as never;
    },
    resolveImage: async (request, { signal }) =>
      (await door.resolveImage(request as never, { peer: undefined, signal })) as never,
  };
});
afterEach(() => rm(dir, { recursive: true }));

function put(
  image: BuiltImage,
  names = [image.reference],
  spoil: (blob: Buffer) => Buffer = (blob) => blob,
): Promise<Digest> {
  const read = (blob: Digest) => streamOf(spoil(image.blobs.get(blob) as Buffer), 2_000_000);
  return putImage([server], { manifest: Buffer.from(image.manifest), names, read }, never);
}

describe('an image that a host has made', () => {
  it('is in the cluster under all its names, with every blob', async () => {
    expect(await put(WEB, ['web:1', 'registry.example/web:2'])).toBe(WEB.digest);
    expect(images.list().map(({ reference }) => reference)).toEqual(['registry.example/web:2', 'web:1']);
    expect((await images.blobs.list()).toSorted()).toEqual([...WEB.blobs.keys()].toSorted());
  });

  it('sends only what the cluster has not got', async () => {
    await put(OLD);
    sent = 0;
    await put(WEB);
    const base = imageOf({ layers: [BASE] });
    const own = [...WEB.blobs].filter(([digest]) => !base.blobs.has(digest) && digest !== WEB.digest);
    expect(sent).toBe(own.reduce((sum, [, { length }]) => sum + length, 0));
    sent = 0;
    await put(WEB, ['web:again']);
    expect(sent).toBe(0);
  });

  it('is refused whole when a blob is not what its digest says', async () => {
    const spoil = (blob: Buffer): Buffer => Buffer.concat([blob.subarray(0, -1), Buffer.from([7])]);
    await expect(put(WEB, ['web:1'], spoil)).rejects.toMatchObject({ code: 'invalid' });
    expect(images.list()).toEqual([]);
  });

  it('is refused when its config gives a new layer another DiffID', async () => {
    const wrong = imageOf({ layers: [{ ...BASE, diffId: `sha256:${'0'.repeat(64)}` }] });
    await expect(put(wrong)).rejects.toMatchObject({ code: 'invalid', message: expect.stringContaining('unpacked') });
    expect(images.list()).toEqual([]);
  });

  it('is refused when it is cut off, without a name, or named by a digest', async () => {
    const last = [...WEB.blobs.values()][1];
    const cut = (blob: Buffer): Buffer => (blob === last ? blob.subarray(0, 10) : blob);
    await expect(put(WEB, ['web:1'], cut)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(put(WEB, [])).rejects.toMatchObject({ code: 'invalid', field: 'names' });
    await expect(put(WEB, [`web@${WEB.digest}`])).rejects.toMatchObject({ code: 'invalid', field: 'names' });
    await put(WEB);
    expect(images.list()).toHaveLength(1);
  });

  it('is taken from several hosts at once', async () => {
    await Promise.all(['a', 'b', 'c'].map((name) => put(WEB, [name])));
    expect(images.list().map(({ reference }) => reference)).toEqual(['a:latest', 'b:latest', 'c:latest']);
  });

  it('leaves its blobs alone while the garbage is collected', async () => {
    const both = Promise.all([put(WEB), images.collect(never), images.collect(never)]);
    await both;
    await images.collect(never);
    expect((await images.blobs.list()).length).toBe(WEB.blobs.size);
  });
});

describe('the image that a build starts from', () => {
  it('is the one of the cluster, unless its registry is to be asked', async () => {
    await put(WEB);
    expect(await resolveImage([server], { name: 'web:1', pull: false }, never)).toBe(WEB.digest);
    await expect(resolveImage([server], { name: 'web:1', pull: true }, never)).rejects.toMatchObject({
      message: 'the registry is away',
    });
    await expect(resolveImage([server], { name: 'other', pull: false }, never)).rejects.toMatchObject({
      message: 'the registry is away',
    });
  });
});
