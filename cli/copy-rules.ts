/**
 * Where `cp` puts what: Docker's rules. Pure. Comes in: what the source is, what is at the destination, and how both were written. Goes
 * out: the folder to unpack in, and the new name of the archive's top. Source: moby, archive/copy.go, PrepareArchiveCopy.
 */
import { ClusterError } from '../common/errors.ts';

export interface CopySource {
  /** As the user wrote it; `/.` at its end means what is in it. */
  readonly path: string;
  readonly isFolder: boolean;
}

export interface CopyDestination {
  /** As the user wrote it, absolute; where its links lead when something is there. */
  readonly path: string;
  readonly kind: 'none' | 'folder' | 'file';
}

export interface CopyPlan {
  /** To unpack in; must be there. */
  readonly folder: string;
  /** What the top of the archive is called; empty: what is in it goes straight into `folder`. */
  readonly top: string;
}

/** @throws ClusterError `invalid` for a folder over a file, or a file into a folder that is not there */
export function copyPlan(source: CopySource, destination: CopyDestination, written: string): CopyPlan {
  const { path, kind } = destination;
  const wantsContent = /(?:^|\/)\.$/.test(source.path);
  const ownName = wantsContent ? '' : lastPart(source.path);
  if (kind === 'folder') return { folder: path, top: ownName };
  const assertsFolder = /\/\.?$/.test(written);
  if (kind === 'file') {
    if (source.isFolder)
      throw new ClusterError('invalid', `cannot copy directory ${source.path} over ${written}: it is a file`);
    if (assertsFolder) throw new ClusterError('invalid', `${written} is not a directory`);
    return { folder: parentOf(path), top: lastPart(path) };
  }
  if (!source.isFolder && assertsFolder) {
    throw new ClusterError('invalid', `destination directory ${written} does not exist`, { hint: 'make it first' });
  }
  return { folder: parentOf(path), top: lastPart(path) };
}

/** `CONTAINER:PATH`; undefined for a path of ours: one that has no colon, or begins with a slash or a dot. Source: docker cp. */
export function containerPath(text: string): { readonly container: string; readonly path: string } | undefined {
  if (text.startsWith('/') || text.startsWith('.')) return undefined;
  const colon = text.indexOf(':');
  if (colon < 1) return undefined;
  const path = text.slice(colon + 1);
  return { container: text.slice(0, colon), path: path.startsWith('/') ? path : `/${path}` };
}

/** The archive's path under its new top. @param base  what its top is called there */
export function renamedPath(path: string, base: string, top: string): string {
  const rest = base === '' ? path : path === base ? '' : path.slice(base.length + 1);
  if (top === '' || rest === '') return top + rest;
  return `${top}/${rest}`;
}

/** Without what only says that it is a folder. */
export function lastPart(path: string): string {
  return parts(path).at(-1) ?? '';
}

function parentOf(path: string): string {
  return `/${parts(path).slice(0, -1).join('/')}`;
}

function parts(path: string): readonly string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
