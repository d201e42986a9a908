/**
 * Which entries of a tree a COPY or ADD takes, and under which names. A selection comes of what the step says; entries and digests of it
 * come in the tree's order, folders that are only on the way just before the first entry that needs them.
 *
 * `--parents` is BuildKit's: names begin at the root, or behind the first `/./` of the source; what comes before may have wildcards too. What
 * fits is taken with all that is below it, with the folders above it as they are; a link is taken as a link. Source: moby/buildkit,
 * dockerfile2llb, dispatchCopy; Dockerfile reference, "COPY --parents".
 */
import { createHash } from 'node:crypto';
import { globOf } from '../../common/context/glob.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import { shown } from '../../common/oci/tar.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { bytesOf, joined, textOf } from './byte-paths.ts';
import type { DigestedEntry, SourceTree } from './source-tree.ts';
import { matches, WILD } from './sources.ts';

/** Paths and names are byte strings. */
export interface Selection {
  readonly tree: SourceTree;
  /** Where the walk begins, links resolved. */
  readonly path: string;
  /** The name of what is there; empty, unless parents are kept. */
  readonly name: string;
  /** The folders that the name goes through, outermost first, with their names. */
  readonly above: readonly TreeEntry[];
  /** By name. Absent: all. */
  readonly isIncluded?: (name: string) => boolean;
  readonly isWanted?: (name: string) => boolean;
}

/** What is at a path, through a link at its end, and all below it. @throws ClusterError `invalid` when nothing is there */
export async function wholeSelection(
  tree: SourceTree,
  path: string,
  isWanted?: (name: string) => boolean,
): Promise<Selection> {
  const place = await tree.lookUp(path, { follow: true });
  if (place.entry === undefined) throw missing(path);
  return { tree, path: place.path, name: '', above: [], ...(isWanted === undefined ? {} : { isWanted }) };
}

/** What `COPY --parents SOURCE` takes. @throws ClusterError `invalid` when it has no wildcards and is not there */
export async function parentSelections(
  tree: SourceTree,
  source: string,
  isWanted?: (name: string) => boolean,
): Promise<readonly Selection[]> {
  const pivot = source.indexOf('/./');
  const from = pivot < 0 ? '/' : source.slice(0, pivot);
  const pattern = cleanPath(`/${pivot < 0 ? source : source.slice(pivot + 2)}`).slice(1);
  const found: Selection[] = [];
  for (const base of await matches(tree, from)) {
    const selection = await selectionBelow(tree, base, pattern);
    if (selection !== undefined) found.push(isWanted === undefined ? selection : { ...selection, isWanted });
    else if (!WILD.test(source)) throw missing(joined(base, bytesOf(pattern)));
  }
  return found;
}

/** Undefined when what is plain in the pattern is not there. */
async function selectionBelow(tree: SourceTree, base: string, pattern: string): Promise<Selection | undefined> {
  const glob = WILD.test(pattern) ? globOf(pattern) : undefined;
  const name = bytesOf(glob === undefined ? pattern : glob.prefix.slice(0, Math.max(0, glob.prefix.lastIndexOf('/'))));
  const above: TreeEntry[] = [];
  for (let slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
    const { entry } = await tree.lookUp(joined(base, name.slice(0, slash)), { follow: true });
    if (entry?.kind !== 'directory') return undefined;
    above.push({ ...entry, path: name.slice(0, slash) });
  }
  // What is named itself may be a link; where a pattern begins is a folder.
  const { path, entry } = await tree.lookUp(joined(base, name), { follow: glob !== undefined || name === '' });
  if (entry === undefined || (glob !== undefined && entry.kind !== 'directory')) return undefined;
  const isIncluded = glob === undefined ? {} : { isIncluded: fitting((each) => glob.fits(textOf(each))) };
  return { tree, path, name, above, ...isIncluded };
}

/** Whether a name fits, or a folder that it lies in. */
function fitting(fits: (name: string) => boolean): (name: string) => boolean {
  return (name) => {
    for (let end = name.length; end > 0; end = name.lastIndexOf('/', end - 1))
      if (fits(name.slice(0, end))) return true;
    return false;
  };
}

/** Entries by their names. */
export async function* selectedEntries(selection: Selection, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  const { tree, path, name } = selection;
  const choice = new Choice(selection);
  for await (const entry of tree.entries(path, signal)) {
    for (const each of choice.of(named(entry, name))) {
      if (each.kind === 'hardlink' && choice.leftOut.has(each.link)) yield* fileOf(selection, each, signal);
      else yield each;
    }
  }
}

/** The same without bodies; the content of a file that has other names too counts where its first name is taken, or each time. */
async function* selectedDigests(selection: Selection, signal: AbortSignal): AsyncGenerator<DigestedEntry> {
  const { tree, path, name } = selection;
  const choice = new Choice(selection);
  const contents = new Map<string, string>();
  for await (const { entry, digest } of tree.digests(path, signal)) {
    const own = named(entry, name);
    const told = choice.of(own);
    if (own.kind === 'file' && told.length === 0) contents.set(own.path, digest);
    for (const each of told) yield { entry: each, digest: each === own ? digest + (contents.get(own.link) ?? '') : '' };
  }
}

/** A digest of all that a copy depends on; times do not count. Undefined: nothing is selected. */
export async function selectionDigest(selection: Selection, signal: AbortSignal): Promise<string | undefined> {
  const hash = createHash('sha256');
  let isEmpty = true;
  for await (const { entry, digest } of selectedDigests(selection, signal)) {
    const { kind, path, mode, uid, gid, link, xattrs, major, minor } = entry;
    hash.update(JSON.stringify([kind, path, mode, uid, gid, digest, link, xattrs, major, minor]));
    isEmpty = false;
  }
  return isEmpty ? undefined : hash.digest('hex');
}

/** A file whose first name was left out, under another one. */
async function* fileOf(
  { tree, path, name }: Selection,
  other: TreeEntry,
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  const first = joined(path, name === '' ? other.link : other.link.slice(name.length + 1));
  for await (const entry of tree.entries(first, signal)) yield { ...entry, path: other.path };
}

function named(entry: TreeEntry, name: string): TreeEntry {
  if (name === '') return entry;
  const link = entry.kind === 'hardlink' ? joined(name, entry.link) : entry.link;
  return { ...entry, path: joined(name, entry.path), link };
}

/** What is told of a walk: each entry that is taken, behind the folders above it that were not told yet. */
class Choice {
  readonly #selection: Selection;
  /** Files that are not taken. */
  readonly leftOut = new Set<string>();
  #waiting: readonly TreeEntry[];
  /** Of the file whose pieces come. */
  #isTaken = true;

  constructor(selection: Selection) {
    this.#selection = selection;
    this.#waiting = selection.above;
  }

  of(entry: TreeEntry): readonly TreeEntry[] {
    if (entry.kind === 'append') return this.#isTaken ? [entry] : [];
    const { isIncluded, isWanted } = this.#selection;
    const { path, kind } = entry;
    this.#waiting = this.#waiting.filter((above) => path.startsWith(`${above.path}/`));
    this.#isTaken = isWanted?.(path) !== false && isIncluded?.(path) !== false;
    if (this.#isTaken) {
      const told = [...this.#waiting, entry];
      this.#waiting = [];
      return told;
    }
    if (kind === 'file') this.leftOut.add(path);
    else if (kind === 'directory' && path !== '' && isWanted?.(path) !== false)
      this.#waiting = [...this.#waiting, entry];
    return [];
  }
}

function missing(path: string): ClusterError {
  return new ClusterError('invalid', `"/${shown(path)}" is not there to be copied`, {
    hint: 'look at its spelling, at .dockerignore, and whether it lies in the context',
  });
}
