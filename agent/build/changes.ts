/**
 * What a command has changed in its root file system, without what only stands there because of its container: files and folders
 * that were made to mount on. Comes in: the writable layer, looked at before the command and after it. Goes out: entries of a layer.
 */
import type { Instant } from '../../common/model/ids.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { native } from '../../native/index.ts';
import { type TreeLayer, treeEntries } from '../image/tree.ts';

/** What was made to mount on: by path, as it was before the command. */
export interface Footing {
  readonly made: ReadonlyMap<string, TreeEntry>;
  /** Folders of the image that something was made in, as the image has them. */
  readonly touched: ReadonlyMap<string, { readonly seconds: number; readonly nanos: number }>;
}

/**
 * Looks at a container that is made and waits.
 * @param lower  the image's layers, topmost first
 */
export async function footingOf(upper: TreeLayer, lower: readonly TreeLayer[], signal: AbortSignal): Promise<Footing> {
  const made = new Map<string, TreeEntry>();
  const touched = new Map<string, { readonly seconds: number; readonly nanos: number }>();
  for await (const entry of treeEntries({ layers: [upper], raw: true }, signal)) {
    made.set(entry.path, entry);
    if (entry.kind !== 'directory' || lower.length === 0) continue;
    const { entry: below } = await native().treeLookUp(lower, entry.path, false);
    if (below !== null) touched.set(entry.path, { seconds: below.seconds, nanos: below.nanos });
  }
  return { made, touched };
}

/** The changes since: what was made to mount on and is as it was is left out, with folders that hold nothing else. */
export async function* changesSince(
  { made, touched }: Footing,
  upper: TreeLayer,
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  /** Folders on the way to where we are, of which it is not known yet whether anything is in them. */
  let waiting: TreeEntry[] = [];
  for await (const entry of treeEntries({ layers: [upper], raw: true }, signal)) {
    waiting = waiting.filter(({ path }) => path === '' || entry.path.startsWith(`${path}/`));
    const before = made.get(entry.path);
    if (before !== undefined && isSame(before, entry)) {
      if (entry.kind === 'directory') waiting.push({ ...entry, ...timesOf(before, entry, touched) });
      continue;
    }
    yield* waiting;
    waiting = [];
    yield entry;
  }
}

/** The time of a folder in which we have made something is the image's, unless the command did something in it too. */
function timesOf(
  before: TreeEntry,
  now: TreeEntry,
  touched: Footing['touched'],
): { readonly seconds: number; readonly nanos: number } {
  const { seconds, nanos } = now;
  if (before.seconds !== seconds || before.nanos !== nanos) return { seconds, nanos };
  return touched.get(now.path) ?? { seconds, nanos };
}

function isSame(before: TreeEntry, now: TreeEntry): boolean {
  if (before.kind !== now.kind || before.mode !== now.mode) return false;
  if (before.uid !== now.uid || before.gid !== now.gid) return false;
  if (now.kind === 'directory') return true;
  return now.size === 0 && before.seconds === now.seconds && before.nanos === now.nanos;
}

/** No file of a reproducible build is younger than its SOURCE_DATE_EPOCH. */
export async function* noYoungerThan(
  entries: AsyncIterable<TreeEntry>,
  epochMs: Instant | undefined,
): AsyncGenerator<TreeEntry> {
  const limit = epochMs === undefined ? Number.POSITIVE_INFINITY : Math.floor(epochMs / 1000);
  for await (const entry of entries) {
    const isYounger = entry.seconds > limit || (entry.seconds === limit && entry.nanos > 0);
    yield isYounger ? { ...entry, seconds: limit, nanos: 0 } : entry;
  }
}
