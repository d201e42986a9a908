import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LayerFolders } from '../../../agent/image/layer-folders.ts';
import { LayerImages } from '../../../agent/image/layer-images.ts';
import type { BlobServer } from '../../../agent/image/pull.ts';
import { unpackLayer } from '../../../agent/image/unpack.ts';
import { ClusterError } from '../../../common/errors.ts';
import { noLog } from '../../../common/log.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { type LayerLimits, LayerReader } from '../../../common/oci/layer.ts';
import { LAYER_ZSTD_TYPE } from '../../../common/oci/manifest.ts';
import { native } from '../../../native/index.ts';
import { type BuiltImage, imageOf, layer } from '../../support/image-archive.ts';
import { LoopDisk } from '../../support/loop-disk.ts';
import { headerOf, streamOf, type TarPart, tarOf, zstdOf } from '../../support/tar.ts';
import { PAGE_BYTES, TightDisk, untilEnough } from '../../support/tight-disk.ts';
import { until } from '../../support/until.ts';

const never = new AbortController().signal;
const MIB = 2 ** 20;
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-hostile-'));
});
afterEach(() => native().removeTree(dir));

/** How many bytes were asked for until it was over, and the entries seen. */
async function look(source: AsyncIterable<Uint8Array>, limits: LayerLimits) {
  const seen = { bytes: 0, entries: 0 };
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      seen.bytes += chunk.length;
      yield chunk;
    }
  };
  const reader = new LayerReader(counted(), 'layer L', limits);
  try {
    while ((await reader.next()) !== undefined) seen.entries += 1;
    return { seen, failure: undefined };
  } catch (failure) {
    return { seen, failure };
  } finally {
    await reader.close();
  }
}

/** A gzip of 16 MiB of zeros, again and again: gzip may consist of many. */
const ZEROS = gzipSync(Buffer.alloc(16 * MIB));
async function* withZeros(head: Buffer, zeroMib: number): AsyncGenerator<Uint8Array> {
  yield gzipSync(head);
  for (let mib = 0; mib < zeroMib; mib += 16) yield ZEROS;
}

describe('a layer that wants to be too much', () => {
  it('is refused at the header of ten gigabytes of zeros, before a byte of them', async () => {
    const header = headerOf({ path: 'zeros' }, 10 * 2 ** 30 - 1);
    const { seen, failure } = await look(withZeros(header, 10_240), { entries: 10, bytes: 2 ** 30 });
    expect(failure).toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('unpacks to more than 1073741824 bytes'),
    });
    expect(seen.bytes).toBeLessThan(4 * MIB);
  });

  it('is refused for ten gigabytes behind its end, which no entry tells', async () => {
    const { seen, failure } = await look(withZeros(Buffer.alloc(1_024), 10_240), { entries: 10, bytes: 64 * MIB });
    expect(failure).toMatchObject({ code: 'invalid', message: expect.stringContaining('its tar has more than') });
    expect(seen.bytes).toBeLessThan(4 * MIB);
  });

  it('is refused at the entry that is one too many, not at the last of a million', async () => {
    const million = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < 1_000_000; at += 1) yield headerOf({ path: `empty-${at}` }, 0);
    };
    const { seen, failure } = await look(million(), { entries: 2_000, bytes: MIB });
    expect(failure).toMatchObject({ code: 'invalid', message: expect.stringContaining('more than 2000 entries') });
    expect(seen.entries).toBe(2_000);
  });

  it('is refused for a sparse file of more than the limit, however little of it there is', async () => {
    const pax = { 'GNU.sparse.size': String(2 ** 40), 'GNU.sparse.map': '0,1' };
    const { failure } = await look(streamOf(tarOf([{ path: 's', body: 'x', pax }])), { entries: 10, bytes: 2 ** 30 });
    expect(failure).toMatchObject({ code: 'invalid', message: expect.stringContaining('unpacks to more than') });
  });
});

const unpackParts = async (parts: readonly TarPart[]): Promise<string> => {
  const tar = tarOf(parts);
  const root = await mkdtemp(join(dir, 'root-'));
  await unpackLayer(
    { reader: new LayerReader(streamOf(tar), 'layer L'), dir: root, diffId: digestOf(tar), name: 'layer L' },
    never,
  );
  return root;
};

describe('names as long as they may be', () => {
  it('are made up to 4,095 bytes, and refused beyond', async () => {
    const parts = Array.from({ length: 16 }, () => 'n'.repeat(255));
    const path = `${parts.join('/').slice(0, 4_094)}x`;
    const root = await unpackParts([{ path: 'p', body: 'far down', pax: { path } }]);
    // Longer than any call takes from the host's root; find goes down folder by folder.
    const found = execFileSync('find', [root, '-type', 'f', '-printf', '%d %s'], { encoding: 'utf8' });
    expect(found).toBe(`${parts.length} ${'far down'.length}`);
    await expect(unpackParts([{ path: 'p', pax: { path: `${path}x` } }])).rejects.toMatchObject({ code: 'invalid' });
  });
});

/** Of digests, so that little of it packs: what unpacks by a program waits for 1 MiB of gzip, and takes 128 KiB of zstd at once. */
const MANY = Array.from({ length: 1_500 }, (_, at): TarPart => {
  const body = Array.from({ length: 48 }, (__, line) => digestOf(`${at} ${line}`)).join('\n');
  return { path: `folder-${at % 7}/file-${at}`, body };
});
const PACKINGS: readonly (readonly [name: string, pack: (tar: Buffer) => Buffer])[] = [
  ['plain', (tar) => tar],
  ['gzip', (tar) => gzipSync(tar)],
  ['zstd', (tar) => zstdOf(tar)],
];

describe.each(PACKINGS)('a layer that is still arriving, %s', (_name, pack) => {
  it('is unpacked as far as it is here, and leaves no trace when it is given up', async () => {
    const tar = tarOf(MANY);
    const packed = pack(tar);
    const abort = new AbortController();
    const arriving = async function* (): AsyncGenerator<Uint8Array> {
      yield* streamOf(packed.subarray(0, packed.length * 0.9), 10_000);
      await once(abort.signal, 'abort');
      throw abort.signal.reason;
    };
    const folders = await LayerFolders.open(join(dir, 'layers'));
    const diffId = digestOf(tar);
    const fill = async (root: string): Promise<void> => {
      const reader = new LayerReader(arriving(), 'layer L');
      await unpackLayer({ reader, dir: root, diffId, name: 'layer L' }, abort.signal);
    };
    const made = folders.make(diffId, fill);
    made.catch(() => undefined);
    const filesHere = (): number =>
      Number(execFileSync('sh', ['-c', 'find layers -type f | wc -l'], { cwd: dir, encoding: 'utf8' }));
    await until('files of the first part', 20_000, () => filesHere() >= 512);
    abort.abort(new Error('given up'));
    await expect(made).rejects.toThrow('given up');
    expect(await readdir(join(dir, 'layers'))).toEqual([]);
  });
});

describe('a disk that is full', () => {
  const parts = [
    ...MANY.slice(0, 150),
    { path: 'hole', body: 'x', pax: { 'GNU.sparse.size': '900000', 'GNU.sparse.map': '500000,1' } },
  ];
  const tar = tarOf([
    ...parts,
    { path: 'big', body: Buffer.alloc(700_000, 'b') },
    { path: 'node', type: '3', device: [1, 3] },
  ]);
  const image = imageOf({ layers: [{ ...layer([]), tar, blob: zstdOf(tar), mediaType: LAYER_ZSTD_TYPE }] });
  const serverOf = ({ blobs }: BuiltImage): BlobServer => ({
    async *fetchBlob({ digest, offset }) {
      const blob = blobs.get(digest ?? '') as Buffer;
      for await (const chunk of streamOf(blob.subarray(offset ?? 0), 10_000)) yield { chunk };
    },
  });
  const server = serverOf(image);
  const descriptors = (): number => readdirSync('/proc/self/fd').length;

  /** Tries with ever more of what is scarce until it succeeds; the number of tries that failed. */
  async function triesUntilEnough(disk: LoopDisk, give: (step: number) => void): Promise<number> {
    const images = await LayerImages.open({ dir: join(disk.path, 'agent'), servers: () => [server], log: noLog });
    const ensure = () => images.ensure(image.reference, image.digest as Digest, never);
    const before = descriptors();
    try {
      for (let step = 0; ; step += 1) {
        give(step);
        try {
          const { layers } = await ensure();
          expect(readFileSync(join(layers[0] as string, 'big'), 'latin1')).toBe('b'.repeat(700_000));
          return step;
        } catch (error) {
          expect(error, `step ${step}`).toBeInstanceOf(ClusterError);
          expect(error, `step ${step}`).toMatchObject({ code: 'exhausted' });
          expect(readdirSync(join(disk.path, 'agent', 'layers')), `step ${step}`).toEqual([]);
          expect(readdirSync(join(disk.path, 'agent', 'images')), `step ${step}`).toEqual([]);
          expect(descriptors(), `step ${step}`).toBeLessThanOrEqual(before);
        }
      }
    } finally {
      await images.close();
    }
  }

  it('leaves nothing half there at whatever step it is full, and is enough in the end', async () => {
    const disk = new LoopDisk(dir, { mib: 8, make: ['-m', '0', '-O', '^has_journal'] });
    try {
      const ballast = join(disk.path, 'ballast');
      const { bavail, bsize } = statfsSync(disk.path);
      const failed = await triesUntilEnough(disk, (step) => {
        const kept = Math.max(bavail * bsize - 60_000 - step * 40_960, 0);
        writeFileSync(ballast, Buffer.alloc(kept));
      });
      expect(failed).toBeGreaterThan(10);
    } finally {
      disk.remove();
    }
  });

  it('leaves nothing half there when it has no room for one more file', async () => {
    const disk = new LoopDisk(dir, { mib: 8, make: ['-m', '0', '-O', '^has_journal', '-N', '256'] });
    try {
      const free = statfsSync(disk.path).ffree;
      const held = join(disk.path, 'held');
      mkdirSync(held);
      for (let at = 0; at < free - 20; at += 1) writeFileSync(join(held, String(at)), '');
      const failed = await triesUntilEnough(disk, (step) => {
        for (let at = 0; at < 15; at += 1) rmSync(join(held, String(step * 15 + at)), { force: true });
      });
      expect(failed).toBeGreaterThan(5);
    } finally {
      disk.remove();
    }
  });

  it.each<[string, (disk: TightDisk, step: number) => void]>([
    ['pages', (disk, step) => disk.leaveBytes(step * PAGE_BYTES)],
    ['files', (disk, step) => disk.leaveFiles(step)],
  ])('leaves nothing half there when it has too few %s, whether it pulls, unpacks or records', async (_, leave) => {
    const content = layer([{ path: 'f', body: randomBytes(9_000) }]);
    const diffId = digestOf(content.tar).slice('sha256:'.length);
    const small = imageOf({ layers: [content] });
    const disk = new TightDisk(dir, { mib: 1, files: 60 });
    const root = join(disk.path, 'agent');
    const options = { servers: () => [serverOf(small)], keepBytes: MIB, log: noLog };
    const images = await LayerImages.open({ dir: root, ...options });
    try {
      const { failures } = await untilEnough({
        leave: (step) => leave(disk, step),
        work: () => images.ensure(small.reference, small.digest as Digest, never),
        after: async (where) => {
          for (const name of ['images', 'incoming'])
            expect(readdirSync(join(root, name)), `${where}: ${name}`).toEqual([]);
          // A layer that is whole stays for the next try, though its image could not be recorded.
          const layers = readdirSync(join(root, 'layers')).filter((name) => !name.startsWith(diffId));
          expect(layers, `${where}: layers`).toEqual([]);
        },
      });
      for (const what of ['blob', 'layer', 'record of image'])
        expect(
          failures.some((each) => each.startsWith(what)),
          what,
        ).toBe(true);
      await images.close();
      const again = await LayerImages.open({ dir: root, ...options });
      expect(await again.list()).toMatchObject([{ digest: small.digest }]);
      await again.close();
    } finally {
      await images.close();
      disk.remove();
    }
  });
});
