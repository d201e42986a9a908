import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { idleImages } from '../../../agent/disk/idle-images.ts';
import { usedImages } from '../../../agent/disk/used-images.ts';
import type { HeldImage } from '../../../agent/image/image.ts';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';

const never = new AbortController().signal;
const digest = (name: string): Digest => `sha256:${name.repeat(64)}` as Digest;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-idle-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function folder(name: string, kib: number): Promise<string> {
  const path = join(dir, name);
  await mkdir(path);
  await writeFile(join(path, 'file'), Buffer.alloc(kib * 1024, 1));
  return path;
}

async function world(usedElsewhere: (digests: readonly Digest[]) => Promise<readonly Digest[]>) {
  const [base, web, old] = [await folder('base', 200), await folder('web', 100), await folder('old', 40)];
  const images: readonly HeldImage[] = [
    { digest: digest('a'), reference: 'web:2', layers: [base, web], usedAt: 3 },
    { digest: digest('b'), reference: 'web:1', layers: [base], usedAt: 2 },
    { digest: digest('c'), reference: 'old:1', layers: [old], usedAt: 1 },
  ];
  const removed: Digest[] = [];
  const remove = async (each: Digest) => {
    removed.push(each);
    return true;
  };
  const inUse = new Set([digest('a')]);
  const source = idleImages({
    images: { list: async () => images, remove },
    inUse: () => inUse,
    usedElsewhere,
    log: noLog,
  });
  return { source, removed, inUse };
}

it('may go when neither a task here uses it nor the cluster, now or to roll back to', async () => {
  const asked: (readonly Digest[])[] = [];
  const { source } = await world(async (digests) => {
    asked.push(digests);
    return [digest('b')];
  });
  const listed = (await source.list(never)).map(({ name, worth }) => [name, worth]);
  expect(listed).toEqual([
    ['web:2', 'needed'],
    ['web:1', 'needed'],
    ['old:1', 'spare'],
  ]);
  expect(asked).toEqual([[digest('b'), digest('c')]]);
});

it('stays while no manager can be asked', async () => {
  const { source } = await world((digests) => usedImages([], digests, never));
  expect((await source.list(never)).map(({ worth }) => worth)).toEqual(['needed', 'needed', 'needed']);
});

it('takes the layers that only it has, and its share of the others', async () => {
  const { source } = await world(async () => []);
  const bytes = (await source.list(never)).map((held) => Math.round(held.bytes / 1024 / 10) * 10);
  expect(bytes).toEqual([210, 100, 40]);
});

it('is not removed when it has come into use since', async () => {
  const { source, removed, inUse } = await world(async () => []);
  inUse.add(digest('c'));
  expect(await source.remove(digest('c'), never)).toBe(false);
  expect(await source.remove(digest('b'), never)).toBe(true);
  expect(removed).toEqual([digest('b')]);
});

it('is asked about at the next manager when one does not answer', async () => {
  const away = {
    usedImages: async () => {
      throw new ClusterError('unavailable', 'away');
    },
  };
  const here = { usedImages: async () => ({ digests: [digest('b')] }) as never };
  expect(await usedImages([away, here], [digest('b'), digest('c')], never)).toEqual([digest('b')]);
  await expect(usedImages([away], [digest('b')], never)).rejects.toMatchObject({ message: 'away' });
  expect(await usedImages([away], [], never)).toEqual([]);
});
