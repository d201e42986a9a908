/**
 * A layer unpacked as an agent unpacks it (digest proved, nothing leaves the root) beside `tar -x`, which reads gzip and zstd
 * by a process of its own. Two layers: many small files, as a Debian root file system has them, and a few big ones; each
 * packed in several ways, read from the page cache. Neither waits for the disk. Both trees are compared with what was packed.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { NATIVE_MEANS } from '../../agent/image/means.ts';
import { unpackLayer } from '../../agent/image/unpack.ts';
import { LAYER_MEMORY } from '../../agent/mesh/layer-memory.ts';
import type { Digest } from '../../common/model/ids.ts';
import { LAYER_LIMITS, LayerReader } from '../../common/oci/layer.ts';
import { piecesOf } from '../../common/oci/pieces.ts';
import { native } from '../../native/index.ts';
import type { Figure, Report } from './figure.ts';
import { type Contender, race } from './image.ts';
import { ownDisk } from './own-disk.ts';

const run = promisify(execFile);

const ROUNDS = 7;
/** Our throughput through tar's. Source: issue 5. */
const AIM = 0.8;
/** A fixed start, so that every run packs the same. */
const SEED = 20_240_229;

interface Kind {
  readonly name: string;
  readonly files: number;
  readonly filesPerFolder: number;
  /** Of the n-th file; `chance` is from 0 to 1. */
  readonly sizeOf: (chance: number) => number;
}

/** As many files as Debian's smallest root has, most of them small, some a few MiB. */
const KINDS: readonly Kind[] = [
  {
    name: '10,000 small files',
    files: 10_000,
    filesPerFolder: 12,
    sizeOf: (chance) => Math.floor(300 * 1_000 ** (chance ** 3)),
  },
  { name: '8 big files', files: 8, filesPerFolder: 4, sizeOf: () => 32 * 2 ** 20 },
];

/** A way of packing: its file's ending and the program that makes it, if it needs one. */
const PACKINGS = [
  { name: 'plain', ending: 'tar', pack: undefined },
  { name: 'gzip', ending: 'tar.gz', pack: 'gzip -6 -k -c' },
  { name: 'zstd', ending: 'tar.zst', pack: 'zstd -3 -q -c' },
] as const;

interface Layer {
  readonly path: string;
  readonly diffId: Digest;
  readonly bytes: number;
  /** What `treeOf` says of what was packed. */
  readonly tree: string;
}

export async function benchUnpack(signal: AbortSignal, rounds = ROUNDS): Promise<Report> {
  const disk = ownDisk();
  try {
    const figures: Figure[] = [];
    for (const kind of KINDS) {
      const layer = await makeLayer(disk.folder, kind);
      for (const { name, ending, pack } of PACKINGS) {
        const path = layer.path.replace(/tar$/, ending);
        if (pack !== undefined) await run('sh', ['-c', `${pack} ${layer.path} > ${path}`]);
        const contenders = {
          ours: covey(disk.folder, { ...layer, path }),
          peers: [{ ...tar(disk.folder, { ...layer, path }), aim: AIM }],
        };
        figures.push(
          ...(await race({ name: `${kind.name}, ${name}`, bytes: layer.bytes, rounds, ...contenders }, signal)),
        );
      }
    }
    return { figures, notes: [...disk.notes, 'throughput is of unpacked bytes, nothing synced'] };
  } finally {
    disk.remove();
  }
}

function covey(folder: string, layer: Layer): Contender {
  const dir = join(folder, 'by-covey');
  const unpack = async (signal: AbortSignal): Promise<void> => {
    mkdirSync(dir);
    const reader = new LayerReader(piecesOf(layer.path, 0, LAYER_MEMORY), 'the layer', LAYER_LIMITS, NATIVE_MEANS);
    await unpackLayer({ reader, dir, diffId: layer.diffId, name: 'the layer' }, signal);
  };
  return { name: 'covey', run: unpack, after: () => compared(dir, layer) };
}

function tar(folder: string, layer: Layer): Contender {
  const dir = join(folder, 'by-tar');
  const unpack = async (signal: AbortSignal): Promise<void> => {
    mkdirSync(dir);
    await run('tar', ['-xp', '--numeric-owner', '-f', layer.path, '-C', dir], { signal });
  };
  return { name: 'tar -x', run: unpack, after: () => compared(dir, layer) };
}

/** Compares what was unpacked with what was packed, and takes it away. */
async function compared(dir: string, layer: Layer): Promise<readonly string[]> {
  const found = await treeOf(dir);
  await native().removeTree(dir);
  return found === layer.tree ? [] : [`${dir} is not what was packed`];
}

/** One digest of every name, kind, size, mode, owner, time and link target. */
async function treeOf(dir: string): Promise<string> {
  const fields = ['%P %y %m %U %G %T@ %l\\n', '%P %s\\n'];
  const list = `{ find . -mindepth 1 -printf '${fields[0]}'; find . -type f -printf '${fields[1]}'; } | LC_ALL=C sort | sha256sum`;
  return (await run('sh', ['-c', list], { cwd: dir })).stdout;
}

/** A tree of pieces of the running Node's program, which packs as other programs do, and its tar. */
async function makeLayer(folder: string, kind: Kind): Promise<Layer> {
  const tree = join(folder, 'packed');
  const program = readFileSync(process.execPath);
  let seed = SEED;
  const chance = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  for (let number = 0; number < kind.files; number += 1) {
    const parent = join(tree, `usr/share/package-${Math.floor(number / kind.filesPerFolder)}`);
    if (number % kind.filesPerFolder === 0) {
      mkdirSync(parent, { recursive: true });
      symlinkSync('../file-0', join(parent, 'link'));
    }
    const size = kind.sizeOf(chance());
    const from = Math.floor(chance() * (program.length - size));
    writeFileSync(join(parent, `file-${number}`), program.subarray(from, from + size));
  }
  const path = join(folder, `${kind.files}.tar`);
  // With times to the nanosecond, as the tree has them.
  await run('tar', ['-c', '--format=pax', '--pax-option=delete=atime,delete=ctime', '-f', path, '-C', tree, '.']);
  const layer = { path, diffId: await digestOfFile(path), bytes: statSync(path).size, tree: await treeOf(tree) };
  await native().removeTree(tree);
  return layer;
}

async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return `sha256:${hash.digest('hex')}` as Digest;
}
