/** What a COPY or ADD takes its files from: patterns are looked up, URLs fetched, archives told from other files. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { ignoreOfPatterns } from '../../common/context/ignore.ts';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Instant } from '../../common/model/ids.ts';
import { archiveEntries, isArchive } from './archive.ts';
import { bytesOf, textOf } from './byte-paths.ts';
import type { BuildConfig } from './dockerfile/build-config.ts';
import { chmodded } from './dockerfile/chmod.ts';
import { destinationOf, proveDestination } from './dockerfile/destination.ts';
import type { AddStep, CopyStep, RunStep, Source } from './dockerfile/steps.ts';
import { parentSelections, type Selection, selectionDigest, wholeSelection } from './selection.ts';
import type { SourceTree } from './source-tree.ts';
import { matches } from './sources.ts';
import type { Transfer, TransferItem } from './transfer.ts';

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
  readonly selection: Selection;
  /** As it is written, wildcards found: byte string. Absent: with its parents, by the selection's names. */
  readonly path?: string;
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

  /** What the step would copy, as digests. @throws ClusterError `invalid` for what is not there, or when there is nothing at all */
  async digests(step: TransferStep, signal: AbortSignal): Promise<readonly string[]> {
    const found: string[] = [];
    for (const { selection, path } of await this.#places(step, signal)) {
      const digest = await selectionDigest(selection, signal);
      if (digest !== undefined) found.push(path ?? selection.name, digest);
    }
    if (found.length === 0 && step.sources.length > 0) throw nothingFound(step);
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

  async #places(step: TransferStep, signal: AbortSignal): Promise<readonly Place[]> {
    // Documents and URLs need nothing of anywhere.
    if (step.sources.length === 0) return [];
    const tree = await this.#treeOf(step.kind === 'copy' ? step.from : { kind: 'context' }, signal);
    if (tree === undefined) return [];
    const isWanted = wantedBy(step);
    const found: Place[] = [];
    for (const source of step.sources) {
      if (step.kind === 'copy' && step.parents) {
        for (const selection of await parentSelections(tree, source, isWanted)) found.push({ selection });
        continue;
      }
      for (const path of await matches(tree, source))
        found.push({ selection: await wholeSelection(tree, path, isWanted), path });
    }
    return found;
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

async function itemOf(step: TransferStep, { selection, path }: Place, signal: AbortSignal): Promise<TransferItem> {
  const keepsOwner = step.kind === 'copy' && step.from.kind !== 'context';
  if (path === undefined) return { kind: 'tree', selection, keepsOwner };
  if (step.kind === 'add' && step.unpack !== false) {
    const { tree, path: place } = selection;
    const { entry } = await tree.lookUp(place, { follow: false });
    const content = (): AsyncIterable<Uint8Array> => contentOf(tree, place, signal);
    if (entry?.kind === 'file' && (await isArchive(content())))
      return { kind: 'archive', entries: archiveEntries(content(), textOf(path)) };
  }
  return { kind: 'tree', selection, name: path.slice(path.lastIndexOf('/') + 1), keepsOwner };
}

function nothingFound({ sources }: TransferStep): ClusterError {
  return new ClusterError('invalid', `no source files were specified: nothing matches ${sources.join(' ')}`, {
    hint: 'look at the spelling, and at .dockerignore',
  });
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
  return (path) => !ignore.ignores(textOf(path));
}

/** Digests of what a RUN's mounts show it; caches and secrets do not count. */
export async function mountContents(step: RunStep, treeOf: TreeOf, signal: AbortSignal): Promise<readonly string[]> {
  const found: string[] = [];
  for (const mount of step.mounts) {
    if (mount.type !== 'bind') continue;
    const tree = await treeOf(mount.from, signal);
    if (tree === undefined) continue;
    const path = bytesOf(cleanPath(`/${mount.source}`).slice(1));
    found.push((await selectionDigest(await wholeSelection(tree, path), signal)) ?? '');
  }
  return found;
}
