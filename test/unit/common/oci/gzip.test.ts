import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { gzipped } from '../../../../common/oci/gzip.ts';
import { streamOf } from '../../../support/tar.ts';

async function packed(bytes: Uint8Array, pieces: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of gzipped(streamOf(bytes, pieces))) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const BLOCK = 256 * 1024;

it.each([0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK + 13])('gives %i bytes back', async (size) => {
  const bytes = Buffer.concat([Buffer.alloc(Math.floor(size / 2), 'a'), randomBytes(Math.ceil(size / 2))]);
  expect(gunzipSync(await packed(bytes, 60_000)).equals(bytes)).toBe(true);
});

it('is the same however the bytes come', async () => {
  const bytes = Buffer.concat([randomBytes(BLOCK), Buffer.alloc(BLOCK, 'text ')]);
  const whole = await packed(bytes, bytes.length);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1_000, max: 2 * BLOCK }), async (pieces) =>
      (await packed(bytes, pieces)).equals(whole),
    ),
    { numRuns: 20 },
  );
});

it('fails with its source', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield randomBytes(BLOCK * 3);
    throw new Error('the disk is gone');
  }
  const all = async (): Promise<void> => {
    for await (const chunk of gzipped(broken())) expect(chunk.length).toBeGreaterThan(0);
  };
  await expect(all()).rejects.toThrow('the disk is gone');
});
