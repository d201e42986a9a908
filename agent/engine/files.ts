/**
 * The files of containers without a service, of those that run and those that do not: read as their layers show them, written beneath
 * their root, or in the volumes and folders of the host that are mounted there. Paths come from users and lead through links that a container
 * has made: none leads out of it.
 */
import { basename, dirname } from 'node:path';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import { shown } from '../../common/oci/tar.ts';
import { tarOf } from '../../common/oci/tar-writer.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { archiveEntries } from '../build/archive.ts';
import type { Images } from '../image/image.ts';
import { writeTree } from '../image/layer-writer.ts';
import { lookUp, type TreeLayer, treeEntries } from '../image/tree.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type MountedPlace, mountedAt } from './mounted.ts';
import type { Standalone } from './standalone.ts';

export interface FileTools {
  readonly images: Pick<Images, 'ensure'>;
  readonly runtime: Pick<Runtime, 'writable'>;
  /** Where a volume of this host lies. */
  readonly volumePath: (name: string) => string;
}

/** Of a container's files: what it wrote first, then its image, topmost first. */
interface Stack {
  readonly layers: readonly TreeLayer[];
  /** Undefined before its first start. */
  readonly upper: TreeLayer | undefined;
  readonly lower: readonly TreeLayer[];
}

export interface Change {
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
}

export interface WriteWish {
  /** Absolute, a folder. */
  readonly path: string;
  /** The tar's owners; root otherwise. */
  readonly keepsOwner: boolean;
}

/** Made by the runtime to mount on, and nobody's change. */
const FOOTING = /^(?:dev|proc|sys)(?:\/|$)|^etc\/(?:hosts|hostname|resolv\.conf)$/;

/** The whole root file system. */
export async function* exported(
  tools: FileTools,
  container: Standalone,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { layers } = await stackOf(tools, container, signal);
  yield* tarOf(treeEntries({ layers }, signal));
}

/** What differs from the image. */
export async function changesOf(
  tools: FileTools,
  container: Standalone,
  signal: AbortSignal,
): Promise<readonly Change[]> {
  const { upper, lower } = await stackOf(tools, container, signal);
  if (upper === undefined) return [];
  const changes: Change[] = [];
  /** Folders in which something was made to mount on. */
  const touched = new Set<string>();
  for await (const { kind, path } of treeEntries({ layers: [upper], raw: true }, signal)) {
    if (FOOTING.test(path)) touched.add(`/${path.slice(0, path.lastIndexOf('/'))}`);
    if (path === '' || kind === 'append' || kind === 'opaque' || FOOTING.test(path)) continue;
    const { entry: before } = await lookUp(lower, path, { follow: false });
    if (kind === 'whiteout' && before === undefined) continue;
    const what = kind === 'whiteout' ? 'D' : before === undefined ? 'A' : 'C';
    changes.push({ kind: what, path: `/${textOf(path)}` });
  }
  const isOnlyTouched = ({ kind, path }: Change): boolean =>
    kind === 'C' && touched.has(path) && !changes.some((other) => other.path.startsWith(`${path}/`));
  return changes.filter((change) => !isOnlyTouched(change));
}

/** What it wrote, as a layer on its image; without what only stands there to be mounted on. */
export async function* layerOf(
  tools: FileTools,
  container: Standalone,
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  const { upper } = await stackOf(tools, container, signal);
  if (upper === undefined) return;
  for await (const entry of treeEntries({ layers: [upper], raw: true }, signal)) {
    if (!FOOTING.test(entry.path)) yield entry;
  }
}

/** Where a path leads, and what is there. */
export async function statOf(
  tools: FileTools,
  container: Standalone,
  wish: { readonly path: string; readonly follow: boolean },
  signal: AbortSignal,
): Promise<{ readonly path: string; readonly entry?: TreeEntry }> {
  const { shownAs, entry } = await found(tools, container, wish, signal);
  return entry === undefined ? { path: shownAs } : { path: shownAs, entry };
}

/** @throws ClusterError `not_found` */
export async function* readPath(
  tools: FileTools,
  container: Standalone,
  { path, follow }: { readonly path: string; readonly follow: boolean },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const place = await found(tools, container, { path, follow }, signal);
  if (place.entry === undefined) throw missing(container, path);
  const base = lastPart(bytesOf(path)) || lastPart(place.path);
  yield* tarOf(renamed(treeEntries({ layers: place.layers, path: place.path }, signal), base));
}

/** @throws ClusterError `not_found`, `conflict` when a folder is to become a file or a file a folder, `invalid` for what is no tar */
export async function writePath(
  tools: FileTools,
  container: Standalone,
  { path, keepsOwner }: WriteWish,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const place = await found(tools, container, { path, follow: true }, signal);
  const { layers, upper, mounted } = place;
  if (upper === undefined && mounted === undefined) {
    throw new ClusterError(
      'conflict',
      `container ${container.record.spec.name} was never started: it has no files of its own`,
      {
        hint: 'start it first',
      },
    );
  }
  if (place.entry === undefined) throw missing(container, path);
  if (place.entry.kind !== 'directory') throw new ClusterError('invalid', `${path} is no folder`, { field: 'path' });
  if (mounted?.readOnly === true) {
    throw new ClusterError('conflict', `what is mounted at ${path} is marked read-only`, { field: 'path' });
  }
  const { pid } = container;
  const own = pid === 0 ? (upper?.path ?? '') : `/proc/${pid}/root`;
  const target = {
    layers: mounted === undefined ? layers : [{ path: mounted.source, idBase: 0 }],
    folder: mounted?.below === '' ? '' : place.path,
    idBase: mounted === undefined ? (upper?.idBase ?? 0) : 0,
    keepsOwner,
    isMounted: mounted !== undefined || pid !== 0,
  };
  await writeTree(mounted?.source ?? own, placed(archiveEntries(source, 'the copied tar'), target), signal);
}

interface Target {
  readonly layers: readonly TreeLayer[];
  readonly folder: string;
  readonly idBase: number;
  readonly keepsOwner: boolean;
  /** Its overlay is there: folders of lower layers need not be made first. */
  readonly isMounted: boolean;
}

async function* placed(entries: AsyncIterable<TreeEntry>, target: Target): AsyncGenerator<TreeEntry> {
  const { layers, folder, idBase, keepsOwner, isMounted } = target;
  const owned = (entry: TreeEntry, uid: number, gid: number): TreeEntry => ({
    ...entry,
    uid: uid + idBase,
    gid: gid + idBase,
  });
  if (!isMounted) {
    for (const path of waysTo(folder)) {
      const { entry } = await lookUp(layers, path, { follow: false });
      if (entry !== undefined) yield { ...owned(entry, entry.uid, entry.gid), path };
    }
  }
  for await (const entry of entries) {
    if (entry.path === '') continue;
    const path = joined(folder, entry.path);
    const own = { ...(keepsOwner ? owned(entry, entry.uid, entry.gid) : owned(entry, 0, 0)), path };
    if (entry.kind === 'append') {
      yield own;
      continue;
    }
    const before = (await lookUp(layers, path, { follow: false })).entry;
    if (before !== undefined && (before.kind === 'directory') !== (entry.kind === 'directory')) {
      const words = entry.kind === 'directory' ? 'non-directory' : 'directory';
      throw new ClusterError('conflict', `cannot overwrite ${words} "/${textOf(path)}" with another kind of file`);
    }
    yield entry.kind === 'hardlink' ? { ...own, link: joined(folder, entry.link) } : own;
    // What lower layers had there, and the container has removed, is not to show again.
    if (!isMounted && entry.kind === 'directory' && before === undefined) yield { ...own, kind: 'opaque', xattrs: [] };
  }
}

async function stackOf({ images, runtime }: FileTools, container: Standalone, signal: AbortSignal): Promise<Stack> {
  const { id, spec, hasRun } = container.record;
  const { image, imageDigest } = spec.template.container;
  const { layers } = await images.ensure(image, imageDigest as Digest, signal);
  const lower = layers.toReversed().map((path) => ({ path, idBase: 0 }));
  const upper = hasRun ? await runtime.writable(id) : undefined;
  return { upper, lower, layers: upper === undefined ? lower : [upper, ...lower] };
}

interface Found extends Stack {
  /** Beneath `layers`. */
  readonly path: string;
  readonly entry?: TreeEntry;
  /** As the container sees it. */
  readonly shownAs: string;
  readonly mounted?: MountedPlace;
}

/** In its own files, or in what is mounted over them. */
async function found(
  tools: FileTools,
  container: Standalone,
  { path, follow }: { readonly path: string; readonly follow: boolean },
  signal: AbortSignal,
): Promise<Found> {
  const stack = await stackOf(tools, container, signal);
  const place = await placeOf(stack.layers, bytesOf(path), follow);
  const shownAs = cleanPath(`/${textOf(place.path)}`);
  const mounted = mountedAt(container.record.spec.mounts, shownAs, tools.volumePath);
  if (mounted === undefined) return { ...stack, ...place, shownAs };
  const { source, below } = mounted;
  // Beneath the mounted folder itself, or a link in it would lead out of it.
  const [root, rest] = below === '' ? [dirname(source), basename(source)] : [source, below];
  const layers = [{ path: root, idBase: 0 }];
  return { ...stack, ...(await placeOf(layers, bytesOf(rest), follow)), layers, shownAs, mounted };
}

async function placeOf(layers: readonly TreeLayer[], path: string, follow: boolean) {
  try {
    return await lookUp(layers, path, { follow });
  } catch (cause) {
    const { code } = cause as { readonly code?: string };
    if (code === 'ENOTDIR' || code === 'ENOENT') return { path };
    throw cause;
  }
}

/** The tree under another name; what is below it keeps its own. */
async function* renamed(entries: AsyncIterable<TreeEntry>, base: string): AsyncGenerator<TreeEntry> {
  for await (const entry of entries) {
    const path = joined(base, entry.path);
    yield entry.kind === 'hardlink' ? { ...entry, path, link: joined(base, entry.link) } : { ...entry, path };
  }
}

/** Every folder on the way, the last included. */
function waysTo(folder: string): readonly string[] {
  const parts = folder.split('/').filter((part) => part !== '');
  return parts.map((_, at) => parts.slice(0, at + 1).join('/'));
}

function joined(folder: string, path: string): string {
  if (folder === '' || path === '') return folder + path;
  return `${folder}/${path}`;
}

function lastPart(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const last = parts.at(-1) ?? '';
  return last === '..' ? '' : last;
}

function missing(container: Standalone, path: string): ClusterError {
  const { name } = container.record.spec;
  return new ClusterError('not_found', `could not find the file ${shown(bytesOf(path))} in container ${name}`, {
    field: 'path',
  });
}

/** Names are bytes. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
