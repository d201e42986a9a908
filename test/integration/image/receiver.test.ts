/** Blobs on their way into a store: short ones here, long ones by a thread; both must leave the same behind. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '../../../common/errors.ts';
import { BlobStore } from '../../../common/oci/blob-store.ts';
import { digestOf } from '../../../common/oci/digest.ts';
import { receiverTo } from '../../../common/oci/receiver.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;
const LENGTHS = [0, 1, MIB - 1, MIB, 8 * MIB, 8 * MIB + 1, 20 * MIB + 777] as const;

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'covey-receiver-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

async function* inPieces(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('a blob', () => {
  it.each(LENGTHS)('of %i bytes is in the store as it came', async (length) => {
    const bytes = randomBytes(length);
    const blobs = await BlobStore.open(dir);
    const digest = digestOf(bytes);
    await blobs.fill({ digest, size: length }, (offset) => inPieces(bytes.subarray(offset), 60_001), never);
    expect((await readFile(blobs.path(digest))).equals(bytes)).toBe(true);
  });

  it('goes on behind what came before it was cut off', async () => {
    const bytes = randomBytes(20 * MIB);
    const blobs = await BlobStore.open(dir);
    const digest = digestOf(bytes);
    const asked: number[] = [];
    const source = async function* (offset: number): AsyncGenerator<Uint8Array> {
      asked.push(offset);
      yield* inPieces(bytes.subarray(offset, offset + 9 * MIB + 5), 65_536);
      if (offset + 9 * MIB + 5 < bytes.length) throw new ClusterError('unavailable', 'the line broke');
    };
    const fill = () => blobs.fill({ digest, size: bytes.length }, source, never);
    await expect(fill()).rejects.toThrow('the line broke');
    await expect(fill()).rejects.toThrow('the line broke');
    await fill();
    expect(asked).toEqual([0, 9 * MIB + 5, 18 * MIB + 10]);
    expect((await readFile(blobs.path(digest))).equals(bytes)).toBe(true);
  });

  it.each([
    ['a short', MIB],
    ['a long', 12 * MIB],
  ])('that is not what its digest says is thrown away: %s one', async (_, length) => {
    const bytes = randomBytes(length);
    const blobs = await BlobStore.open(dir);
    const digest = digestOf(Buffer.from('another'));
    const fill = blobs.fill({ digest, size: length }, () => inPieces(bytes, 65_536), never);
    await expect(fill).rejects.toMatchObject({ code: 'invalid' });
    expect(await blobs.begun()).toEqual([]);
  });
});

describe('a receiver', () => {
  it.each([
    ['here', MIB],
    ['by a thread', 12 * MIB],
  ])('that works %s says what the disk says, and ends', async (_, length) => {
    // Every write of this device fails as on a full disk.
    const file = await open('/dev/full', 'a');
    const receiver = receiverTo(file, length);
    try {
      const giving = async (): Promise<void> => {
        for await (const piece of inPieces(randomBytes(length), 65_536)) await receiver.add(piece);
        await receiver.flush();
      };
      await expect(giving()).rejects.toMatchObject({ code: 'ENOSPC' });
    } finally {
      await receiver.close();
      await file.close();
    }
  });

  it('counts what a file has already without writing it again', async () => {
    const path = join(dir, 'file');
    const file = await open(path, 'a+');
    const bytes = randomBytes(12 * MIB);
    const receiver = receiverTo(file, bytes.length);
    try {
      await file.appendFile(bytes.subarray(0, 5 * MIB));
      await receiver.addKnown(bytes.subarray(0, 5 * MIB));
      await receiver.add(bytes.subarray(5 * MIB));
      await receiver.flush();
      expect(await receiver.digest()).toBe(createHash('sha256').update(bytes).digest('hex'));
      expect((await readFile(path)).equals(bytes)).toBe(true);
    } finally {
      await receiver.close();
      await file.close();
    }
  });
});
