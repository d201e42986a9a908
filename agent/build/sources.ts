/** Which files a COPY's sources name: patterns looked up in a tree. Paths are byte strings, relative to the tree's root. */

import { createHash } from 'node:crypto';
import { globOf } from '../../common/context/glob.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import { native } from '../../native/index.ts';
import { type TreeLayer, treeEntries } from '../image/tree.ts';
import { bytesOf, joined } from './transfer.ts';

const WILD = /[*?[\\]/;

/**
 * What `pattern` names, in order of bytes. One without wildcards names itself, whether it is there or not; `..` ends at the root.
 * @param layers  topmost first
 */
export async function matches(layers: readonly TreeLayer[], pattern: string): Promise<readonly string[]> {
  const clean = cleanPath(`/${pattern}`).slice(1);
  if (!WILD.test(pattern)) return [bytesOf(clean)];
  let found = [''];
  for (const part of clean.split('/')) {
    const next: string[] = [];
    const glob = globOf(part);
    for (const folder of found) {
      if (!WILD.test(part)) {
        const path = joined(folder, bytesOf(part));
        if ((await native().treeLookUp(layers, path, true)).entry !== null) next.push(path);
        continue;
      }
      for (const name of await native().treeNames(layers, folder))
        if (glob.fits(Buffer.from(name, 'latin1').toString('utf8'))) next.push(joined(folder, name));
    }
    found = next;
  }
  return found;
}

/** A digest of everything below `path` that a copy of it depends on; times do not count. */
export async function contentDigest(
  layers: readonly TreeLayer[],
  path: string,
  isWanted: ((path: string) => boolean) | undefined,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256');
  const place = await native().treeLookUp(layers, path, true);
  if (place.entry === null) {
    throw new ClusterError('invalid', `"/${Buffer.from(path, 'latin1').toString('utf8')}" is not there to be copied`, {
      hint: 'look at its spelling, at .dockerignore, and whether it lies in the context',
    });
  }
  let isLeftOut = false;
  for await (const entry of treeEntries({ layers, path: place.path }, signal)) {
    if (entry.kind !== 'append') {
      isLeftOut = entry.path !== '' && isWanted?.(entry.path) === false;
      const { kind, mode, uid, gid, size, link, xattrs, major, minor } = entry;
      if (!isLeftOut)
        hash.update(
          JSON.stringify([
            kind,
            entry.path,
            mode,
            uid,
            gid,
            kind === 'directory' ? 0 : size,
            link,
            xattrs,
            major,
            minor,
          ]),
        );
    }
    if (!isLeftOut && entry.body !== null) hash.update(entry.body);
  }
  return hash.digest('hex');
}
