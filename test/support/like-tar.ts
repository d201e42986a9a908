/** A layer unpacked by an agent, held against what GNU tar makes of the same archive. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { unpackLayer } from '../../agent/image/unpack.ts';
import type { Digest } from '../../common/model/ids.ts';
import { LayerReader } from '../../common/oci/layer.ts';
import { describeTree, holesOf, xattrsOf } from './trees.ts';

const never = new AbortController().signal;

/** All that tar keeps of a tree, in the same words for the same tree. */
interface Tree {
  /** Content, modes, owners, times to the nanosecond, devices, links, and which names are one file. */
  readonly entries: string;
  readonly xattrs: string;
  /** Where files with holes have bytes. */
  readonly holes: string;
}

export interface Pair {
  readonly byTar: Tree;
  readonly byUs: Tree;
}

/** Unpacks a plain tar twice, beneath the folder `dir`. */
export async function unpackBoth(tar: string, dir: string): Promise<Pair> {
  const byTar = join(dir, 'by-tar');
  const byUs = join(dir, 'by-us');
  for (const each of [byTar, byUs]) mkdirSync(each);
  const keep = ['--numeric-owner', '--xattrs', '--xattrs-include=*'];
  execFileSync('tar', ['-xp', '--warning=no-timestamp', ...keep, '-f', tar, '-C', byTar], { stdio: 'pipe' });
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(tar)) hash.update(chunk as Uint8Array);
  const reader = new LayerReader(createReadStream(tar) as AsyncIterable<Uint8Array>, 'layer L');
  await unpackLayer({ reader, dir: byUs, diffId: `sha256:${hash.digest('hex')}` as Digest, name: 'layer L' }, never);
  return { byTar: treeOf(byTar), byUs: treeOf(byUs) };
}

function treeOf(root: string): Tree {
  return { entries: describeTree(root), xattrs: xattrsOf(root), holes: holesOf(root) };
}
