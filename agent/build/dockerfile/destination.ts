/** Where a COPY or ADD puts things. Source: Dockerfile reference, COPY, "Destination". */

import { joinPath } from '../../../common/context/paths.ts';
import { ClusterError } from '../../../common/errors.ts';

export interface Destination {
  /** Absolute and clean. */
  readonly path: string;
  /** A folder by its spelling: files go into it under their own names. */
  readonly isFolder: boolean;
}

/** @param workdir  the stage's; empty = `/` */
export function destinationOf(dest: string, workdir: string): Destination {
  return { path: joinPath(workdir === '' ? '/' : workdir, dest), isFolder: /(?:^|\/)\.{0,2}$/.test(dest) };
}

/**
 * Several things need a folder to lie in.
 *
 * @param count  of sources as they are written, documents and URLs; or of what a pattern has found
 * @throws ClusterError `invalid`
 */
export function proveDestination(keyword: string, dest: string, count: number): void {
  if (count <= 1 || destinationOf(dest, '/').isFolder) return;
  throw new ClusterError(
    'invalid',
    `when using ${keyword} with more than one source file, the destination must be a directory and end with a /: ${dest}`,
    { hint: `write ${dest}/` },
  );
}
