/** Which files a COPY's sources name: patterns looked up in a tree. Paths are byte strings, relative to the tree's root. */
import { globOf } from '../../common/context/glob.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { bytesOf, joined, textOf } from './byte-paths.ts';
import type { SourceTree } from './source-tree.ts';

/** What makes a pattern of a path. */
export const WILD = /[*?[\\]/;

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
      for (const name of await tree.names(folder)) if (glob.fits(textOf(name))) next.push(joined(folder, name));
    }
    found = next;
  }
  return found;
}
