/** What a COPY or ADD takes its files from: patterns are looked up, URLs fetched, archives told from other files. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ignoreOfPatterns } from '../../common/context/ignore.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Instant } from '../../common/model/ids.ts';
import { archiveEntries, isArchive } from './archive.ts';
import type { BuildConfig } from './dockerfile/build-config.ts';
import { chmodded } from './dockerfile/chmod.ts';
import { destinationOf, proveDestination } from './dockerfile/destination.ts';
import type { AddStep, CopyStep, RunStep, Source } from './dockerfile/steps.ts';
import type { SourceTree } from './source-tree.ts';
import { contentDigest, matches } from './sources.ts';
import { bytesOf, type Transfer, type TransferItem } from './transfer.ts';

/** Brings a URL's content into a file; the time is the server's Last-Modified, else 1970. */
export type Fetch = (url: string, signal: AbortSignal) => Promise<Fetched>;

export interface Fetched {
  readonly path: string;
  /** `sha256:…` */
  readonly digest: string;
  /** Of the URL's path, or what the server says. */
  readonly name: string;
  readonly at: Instant;
  readonly remove: () => Promise<void>;
}

type TransferStep = CopyStep | AddStep;

/** Something to be copied. */
interface Place {
  readonly tree: SourceTree;
  readonly path: string;
}

/** Where a source's files are; undefined: there is nothing in it. */
export type TreeOf = (source: Source, signal: AbortSignal) => Promise<SourceTree | undefined>;

/** One step's; closed when it is done. */
export class TransferSources {
  readonly #treeOf: TreeOf;
  readonly #fetch: Fetch;
  readonly #fetched = new Map<string, Fetched>();

  constructor(treeOf: TreeOf, fetch: Fetch) {
    this.#treeOf = treeOf;
    this.#fetch = fetch;
  }

  async close(): Promise<void> {
    for (const each of this.#fetched.values()) await each.remove();
  }

  /** What the step would copy, as digests. @throws ClusterError `invalid` for what is not there */
  async digests(step: TransferStep, signal: AbortSignal): Promise<readonly string[]> {
    const found: string[] = [];
    for (const { tree, path } of await this.#places(step, signal)) {
      found.push(path, await contentDigest(tree, path, wantedBy(step), signal));
    }
    for (const url of urlsOf(step)) found.push(url, (await this.#fetchOnce(url, step, signal)).digest);
    return found;
  }

  /** The step's files and where they go. */
  async transfer(
    step: TransferStep,
    config: BuildConfig,
    signal: AbortSignal,
  ): Promise<Omit<Transfer, 'base' | 'now' | 'owner'>> {
    const items: TransferItem[] = [];
    for (const place of await this.#places(step, signal)) items.push(await itemOf(step, place, signal));
    for (const { name, content } of step.documents)
      items.push({ kind: 'document', name: bytesOf(name), content: Buffer.from(content) });
    for (const url of urlsOf(step)) items.push(await this.#fetchedItem(url, step, signal));
    const { chmod } = step;
    proveDestination(step.kind.toUpperCase(), step.dest, items.length);
    const to = destinationOf(step.dest, config.workdir);
    return {
      items,
      dest: bytesOf(to.path),
      isFolder: to.isFolder,
      ...(chmod === undefined ? {} : { chmod: (mode, isFolder) => chmodded(chmod, mode, isFolder) }),
    };
  }

  /** @throws ClusterError `invalid` when patterns name nothing at all */
  async #places(step: TransferStep, signal: AbortSignal): Promise<readonly Place[]> {
    const patterns = step.sources;
    // Documents and URLs need nothing of anywhere.
    if (patterns.length === 0) return [];
    const tree = await this.#treeOf(step.kind === 'copy' ? step.from : { kind: 'context' }, signal);
    const found: Place[] = [];
    for (const pattern of patterns) {
      if (tree === undefined) break;
      for (const path of await matches(tree, pattern)) found.push({ tree, path });
    }
    if (found.length > 0) return found;
    throw new ClusterError('invalid', `no source files were specified: nothing matches ${patterns.join(' ')}`, {
      hint: 'look at the spelling, and at .dockerignore',
    });
  }

  async #fetchOnce(url: string, step: TransferStep, signal: AbortSignal): Promise<Fetched> {
    const known = this.#fetched.get(url);
    if (known !== undefined) return known;
    const fetched = await this.#fetch(url, signal);
    this.#fetched.set(url, fetched);
    const checksum = step.kind === 'add' ? step.checksum : undefined;
    if (checksum === undefined || checksum === fetched.digest) return fetched;
    throw new ClusterError('invalid', `${url} has the digest ${fetched.digest}, not ${checksum}`, {
      field: 'checksum',
    });
  }

  async #fetchedItem(url: string, step: TransferStep, signal: AbortSignal): Promise<TransferItem> {
    const { path, name, at } = await this.#fetchOnce(url, step, signal);
    if (step.kind === 'add' && step.unpack === true && (await isArchive(createReadStream(path))))
      return { kind: 'archive', entries: archiveEntries(createReadStream(path), url) };
    return { kind: 'file', name: bytesOf(name), path, size: (await stat(path)).size, at };
  }
}

async function itemOf(step: TransferStep, { tree, path }: Place, signal: AbortSignal): Promise<TransferItem> {
  const isContext = step.kind === 'add' || step.from.kind === 'context';
  if (step.kind === 'add' && step.unpack !== false) {
    const place = await tree.lookUp(path, { follow: true });
    const content = (): AsyncIterable<Uint8Array> => contentOf(tree, place.path, signal);
    if (place.entry?.kind === 'file' && (await isArchive(content())))
      return { kind: 'archive', entries: archiveEntries(content(), Buffer.from(path, 'latin1').toString('utf8')) };
  }
  const isWanted = wantedBy(step);
  const parents =
    step.kind === 'copy' && step.parents ? { below: path.slice(0, Math.max(0, path.lastIndexOf('/'))) } : {};
  return {
    kind: 'tree',
    tree,
    path,
    keepsOwner: !isContext,
    ...(isWanted === undefined ? {} : { isWanted }),
    ...parents,
  };
}

async function* contentOf(tree: SourceTree, path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const { body } of tree.entries(path, signal)) if (body !== null) yield body;
}

function urlsOf(step: TransferStep): readonly string[] {
  return step.kind === 'add' ? step.urls : [];
}

/** Patterns of --exclude are seen from each source's folder. */
function wantedBy({ exclude }: TransferStep): ((path: string) => boolean) | undefined {
  if (exclude.length === 0) return undefined;
  const ignore = ignoreOfPatterns(exclude);
  return (path) => !ignore.ignores(Buffer.from(path, 'latin1').toString('utf8'));
}

/** Digests of what a RUN's mounts show it; caches and secrets do not count. */
export async function mountContents(step: RunStep, treeOf: TreeOf, signal: AbortSignal): Promise<readonly string[]> {
  const found: string[] = [];
  for (const mount of step.mounts) {
    if (mount.type !== 'bind') continue;
    const tree = await treeOf(mount.from, signal);
    if (tree === undefined) continue;
    const path = bytesOf(cleanPath(`/${mount.source}`).slice(1));
    found.push(await contentDigest(tree, path, undefined, signal));
  }
  return found;
}
