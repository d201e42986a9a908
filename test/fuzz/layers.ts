/** Layers as managers look at them: whatever comes, an entry stays beneath the root and its body is as long as it says. */
import assert from 'node:assert';
import { gzipSync } from 'node:zlib';
import { packingOf } from '../../common/oci/inflate.ts';
import { type LayerEntry, LayerReader } from '../../common/oci/layer.ts';
import type { TarEntry } from '../../common/oci/tar.ts';
import { streamOf } from '../support/tar.ts';
import { mended, reshaped, tarSeeds, WORDS } from './tar-shape.ts';
import { refusing, type Target } from './target.ts';

const LIMITS = { entries: 1_000, bytes: 2 ** 24 };
const NAMES_MAX = 4_095;

export const layers: Target = {
  name: 'layer',
  seeds: () => [...tarSeeds(), gzipSync(tarSeeds()[0] as Buffer)],
  words: WORDS,
  bytesMax: 16_384,
  reshape: reshaped,
  mend: mended,
  run: (bytes) => refusing(() => read(bytes)),
};

async function read(bytes: Buffer): Promise<void> {
  // What zstd's own program makes of its frames is not ours to fuzz, and a program for each input would be all that runs.
  if (packingOf(bytes) === 'zstd') return;
  const reader = new LayerReader(streamOf(bytes, 700), 'layer L', LIMITS);
  let total = 0;
  try {
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
      isClean(entry.path, entry);
      if (entry.kind === 'hardlink') isClean(entry.link, entry);
      if (entry.kind === 'file') total += await readBody(reader, entry);
    }
  } finally {
    await reader.close();
  }
  assert(total <= LIMITS.bytes, `${total} bytes came out`);
}

function isClean(path: string, entry: LayerEntry): void {
  const parts = path.split('/');
  const isRoot = path === '' && (entry.kind === 'directory' || entry.kind === 'opaque');
  const isWithin = isRoot || parts.every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255);
  assert(isWithin && path.length <= NAMES_MAX && !path.includes('\0'), `a ${entry.kind} at ${JSON.stringify(path)}`);
}

async function readBody(reader: LayerReader, entry: TarEntry): Promise<number> {
  let got = 0;
  for (let piece = await reader.chunk(4_096); piece !== undefined; piece = await reader.chunk(4_096))
    got += piece.length;
  let end = 0;
  let sum = 0;
  for (const { offset, size } of entry.extents ?? [{ offset: 0, size: entry.size }]) {
    assert(offset >= end && offset + size <= entry.size, 'extents overlap or leave the file');
    end = offset + size;
    sum += size;
  }
  assert(got === sum, `a body of ${got} bytes, not ${sum}`);
  return got;
}
