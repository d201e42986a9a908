/** Layers unpacked by the native core: whatever comes, nothing beside the folder is made, changed or removed. Wants root. */
import assert from 'node:assert';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NATIVE_MEANS } from '../../agent/image/means.ts';
import { unpackLayer } from '../../agent/image/unpack.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { packingOf } from '../../common/oci/inflate.ts';
import { LayerReader } from '../../common/oci/layer.ts';
import { native } from '../../native/index.ts';
import { streamOf, type TarPart, tarOf } from '../support/tar.ts';
import { mended, reshaped, tarSeeds, WORDS } from './tar-shape.ts';
import { refusing, type Target } from './target.ts';

const LIMITS = { entries: 200, bytes: 2 ** 20 };
const never = new AbortController().signal;
const WAYS_OUT: readonly TarPart[] = [
  { path: 'l', type: '2', link: '/' },
  { path: 'l/x', body: 'x' },
  { path: 'm', type: '2', link: '../beside' },
  { path: 'm/y', body: 'y' },
  { path: 'c', type: '2', link: '../canary' },
  { path: 'c', body: 'z' },
  { path: 'h', type: '1', link: 'c' },
  { path: 'l', type: '5' },
];

export const unpacking: Target = {
  name: 'unpack',
  seeds: () => [...tarSeeds(), tarOf(WAYS_OUT)],
  words: [...WORDS, '../canary', '../../canary', '/proc/self/root', '/proc/self/cwd'],
  bytesMax: 8_192,
  reshape: reshaped,
  mend: mended,
  run: (bytes) => (packingOf(bytes) === 'plain' ? unpacked(bytes) : undefined),
};

let world: string | undefined;

/** Removed with the process. */
function worldOf(): string {
  if (world !== undefined) return world;
  const made = mkdtempSync(join(process.env.COVEY_FUZZ_DIR ?? tmpdir(), 'covey-fuzz-'));
  writeFileSync(join(made, 'canary'), 'whole');
  mkdirSync(join(made, 'beside'));
  world = made;
  return made;
}

async function unpacked(bytes: Buffer): Promise<void> {
  const parent = worldOf();
  const dir = join(parent, 'root');
  mkdirSync(dir);
  const name = 'layer L';
  const reader = new LayerReader(streamOf(bytes), name, LIMITS, NATIVE_MEANS);
  try {
    await refusing(() => unpackLayer({ reader, dir, diffId: digestOf(bytes), name }, never));
  } finally {
    await native().removeTree(dir);
  }
  const { mode, nlink, size } = statSync(join(parent, 'canary'));
  assert.deepEqual(readdirSync(parent).toSorted(), ['beside', 'canary'], 'something lies beside the root');
  assert.deepEqual(readdirSync(join(parent, 'beside')), [], 'something lies in a folder beside the root');
  assert(
    readFileSync(join(parent, 'canary'), 'utf8') === 'whole' && size === 5 && nlink === 1 && (mode & 0o7777) === 0o644,
    'the canary',
  );
}
