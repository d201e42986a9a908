/** Which files a COPY's sources name: patterns looked up in a tree. Paths are byte strings, relative to the tree's root. */

import { createHash } from 'node:crypto';
import { globOf } from '../../common/context/glob.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import type { SourceTree } from './source-tree.ts';
import { bytesOf, joined } from './transfer.ts';

const WILD = /[*?[\\]/;

/**
 * What `pattern` names, in order of bytes. One without wildcards names itself, whether it is there or not; `..` ends at the root.
 */
export async function matches(tree: SourceTree, pattern: string): Promise<readonly string[]> {
  const clean = cleanPath(`/${pattern}`).slice(1);
  if (!WILD.test(pattern)) return [bytesOf(clean)];
  let found = [''];
  for (const part of clean.split('/')) {
    const next: string[] = [];
    const glob = globOf(part);
    for (const folder of found) {
      if (!WILD.test(part)) {
        const path = joined(folder, bytesOf(part));
        if ((await tree.lookUp(path, { follow: true })).entry !== undefined) next.push(path);
        continue;
      }
      for (const name of await tree.names(folder))
        if (glob.fits(Buffer.from(name, 'latin1').toString('utf8'))) next.push(joined(folder, name));
    }
    found = next;
  }
  return found;
}

/** A digest of everything below `path` that a copy of it depends on; times do not count. */
export async function contentDigest(
  tree: SourceTree,
  path: string,
  isWanted: ((path: string) => boolean) | undefined,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const place = await tree.lookUp(path, { follow: true });
  if (place.entry === undefined) {
    throw new ClusterError('invalid', `"/${Buffer.from(path, 'latin1').toString('utf8')}" is not there to be copied`, {
      hint: 'look at its spelling, at .dockerignore, and whether it lies in the context',
    });
  }
  for await (const { entry, digest } of tree.digests(place.path, signal)) {
    if (entry.path !== '' && isWanted?.(entry.path) === false) continue;
    const { kind, mode, uid, gid, link, xattrs, major, minor } = entry;
    hash.update(JSON.stringify([kind, entry.path, mode, uid, gid, digest, link, xattrs, major, minor]));
  }
  return hash.digest('hex');
}
