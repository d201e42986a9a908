/**
 * What a COPY or ADD puts into a layer. Comes in: trees, documents and archives, and where they go. Goes out: entries of a layer that
 * hold what is copied and the folders on the way to it, as the stage has them. Nothing is written here.
 *
 * Rules are BuildKit's: a folder gives its content; folders that exist keep what they are but for those below a source's top; the links
 * on the way to the destination are followed inside the stage, those below it are never written through.
 * Source: Dockerfile reference, COPY; tonistiigi/fsutil, copy/copy.go.
 */
import { createReadStream } from 'node:fs';
import { ClusterError } from '../../common/errors.ts';
import type { Instant } from '../../common/model/ids.ts';
import { shown } from '../../common/oci/tar.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { native } from '../../native/index.ts';
import { type TreeLayer, treeEntry } from '../image/tree.ts';
import { joined } from './byte-paths.ts';
import { type Selection, selectedEntries } from './selection.ts';

const READ_BYTES = 512 * 1024;

/** Something to be copied. Paths and names are byte strings (latin1), relative. */
export type TransferItem =
  | {
      readonly kind: 'tree';
      readonly selection: Selection;
      /** Of a file that comes into a folder. Absent: the selection's own names count. */
      readonly name?: string;
      /** Of a context's files nobody asks who owns them here. */
      readonly keepsOwner: boolean;
    }
  | { readonly kind: 'document'; readonly name: string; readonly content: Uint8Array }
  /** A file of this host. */
  | { readonly kind: 'file'; readonly name: string; readonly path: string; readonly size: number; readonly at: Instant }
  /** Unpacked into the destination, with the owners it says. */
  | { readonly kind: 'archive'; readonly entries: AsyncIterable<TreeEntry> };

export interface Transfer {
  readonly items: readonly TransferItem[];
  /** The stage so far, topmost first; empty: nothing is looked at, as for `--link`. */
  readonly base: readonly TreeLayer[];
  /** Absolute byte string, clean. */
  readonly dest: string;
  /** It was written with a `/` at its end. */
  readonly isFolder: boolean;
  readonly owner?: { readonly uid: number; readonly gid: number };
  readonly chmod?: (mode: number, isFolder: boolean) => number;
  /** Of folders that are made. */
  readonly now: Instant;
}

/** @throws ClusterError `invalid` naming what is missing or in the way */
export async function* transferred(transfer: Transfer, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  const target = new Target(transfer);
  const { path, entry } = await target.resolve(transfer.dest);
  const many = transfer.items.length > 1;
  for (const item of transfer.items) {
    signal.throwIfAborted();
    const isFolder = transfer.isFolder || many || entry?.kind === 'directory';
    if (item.kind === 'archive') yield* target.unpack(path, item.entries);
    else if (item.kind === 'document') yield* target.document(isFolder ? joined(path, item.name) : path, item.content);
    else if (item.kind === 'file') yield* target.file(isFolder ? joined(path, item.name) : path, item);
    else yield* copied(target, item, { path, isFolder }, signal);
  }
}

type TreeItem = Extract<TransferItem, { readonly kind: 'tree' }>;

async function* copied(
  target: Target,
  { selection, name, keepsOwner }: TreeItem,
  dest: { readonly path: string; readonly isFolder: boolean },
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  const { entry: top } = await selection.tree.lookUp(selection.path, { follow: false });
  const isInto = name !== undefined && top?.kind !== 'directory' && dest.isFolder;
  const to = isInto ? joined(dest.path, name) : dest.path;
  for await (const entry of selectedEntries(selection, signal))
    yield* target.put(to, entry, { isTop: entry.path === '', keepsOwner });
}

/** The layer in the making, over the stage as it was. */
class Target {
  readonly #transfer: Transfer;
  /** Folders that the layer has by now; true: the stage has them too. */
  readonly #folders = new Map<string, boolean>();

  constructor(transfer: Transfer) {
    this.#transfer = transfer;
  }

  /** Where the destination really is, and what is there. */
  async resolve(dest: string): Promise<{ readonly path: string; readonly entry: TreeEntry | undefined }> {
    const { base } = this.#transfer;
    if (base.length === 0) return { path: dest.replace(/^\/+/, ''), entry: undefined };
    const place = await native().treeLookUp(base, dest, true);
    return { path: place.path, entry: place.entry === null ? undefined : treeEntry(place.entry, Buffer.alloc(0)) };
  }

  /** An entry of a source's tree, below `to`. */
  async *put(
    to: string,
    entry: TreeEntry,
    { isTop, keepsOwner }: { readonly isTop: boolean; readonly keepsOwner: boolean },
  ): AsyncGenerator<TreeEntry> {
    const path = joined(to, entry.path);
    const own = this.#own(keepsOwner ? entry : { ...entry, uid: 0, gid: 0 });
    if (entry.kind === 'append') {
      yield { ...own, path };
      return;
    }
    yield* this.#parents(path);
    const there = await this.#there(path);
    if (entry.kind === 'directory') {
      if (there !== undefined && there.kind !== 'directory') throw inTheWay(path, 'a folder', there);
      this.#folders.set(path, there !== undefined);
      // A folder that was there before stays what it is; the top of a source only gives its content.
      yield isTop && there !== undefined ? { ...there, path } : { ...own, path };
      return;
    }
    if (there?.kind === 'directory') throw inTheWay(path, 'a file', there);
    yield entry.kind === 'hardlink' ? { ...own, path, link: joined(to, entry.link) } : { ...own, path };
  }

  async *document(path: string, content: Uint8Array): AsyncGenerator<TreeEntry> {
    yield* this.#fileAt(path);
    const body = content.length === 0 ? null : content;
    const { now } = this.#transfer;
    yield this.#own({ ...blank(now), kind: 'file', path, mode: 0o644, size: content.length, body });
  }

  /** What was fetched is for root only, as with Docker. */
  async *file(path: string, from: Extract<TransferItem, { readonly kind: 'file' }>): AsyncGenerator<TreeEntry> {
    yield* this.#fileAt(path);
    const whole = this.#own({ ...blank(from.at), kind: 'file', path, mode: 0o600, size: from.size });
    if (from.size === 0) yield whole;
    let done = 0;
    for await (const chunk of createReadStream(from.path, { highWaterMark: READ_BYTES })) {
      const body = chunk as Uint8Array;
      const kind = done === 0 ? 'file' : 'append';
      done += body.length;
      yield { ...whole, kind, body, last: done === from.size };
    }
  }

  async *#fileAt(path: string): AsyncGenerator<TreeEntry> {
    yield* this.#parents(path);
    const there = await this.#there(path);
    if (there?.kind === 'directory') throw inTheWay(path, 'a file', there);
  }

  /** Folders of an archive may be links in the stage, as those of a layer may. */
  async *unpack(to: string, entries: AsyncIterable<TreeEntry>): AsyncGenerator<TreeEntry> {
    const { owner } = this.#transfer;
    for await (const entry of entries) {
      const slash = entry.path.lastIndexOf('/');
      const folder = await this.#followed(joined(to, slash < 0 ? '' : entry.path.slice(0, slash)));
      const path = joined(folder, entry.path.slice(slash + 1));
      const own = { ...entry, ...owner, path };
      if (entry.kind !== 'append') yield* this.#parents(path);
      if (entry.kind === 'directory') {
        const there = await this.#there(path);
        this.#folders.set(path, there?.kind === 'directory');
      }
      yield entry.kind === 'hardlink' ? { ...own, link: joined(to, entry.link) } : own;
    }
    yield* this.#parents(joined(to, 'x'));
  }

  async #followed(folder: string): Promise<string> {
    if (this.#folders.has(folder)) return folder;
    return (await this.resolve(folder)).path;
  }

  /** The folders above `path` that the layer has not got yet: as the stage has them, else new ones. */
  async *#parents(path: string): AsyncGenerator<TreeEntry> {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash);
      if (this.#folders.has(folder)) continue;
      const there = await this.#there(folder);
      if (there !== undefined && there.kind !== 'directory') throw inTheWay(folder, 'a folder', there);
      this.#folders.set(folder, there !== undefined);
      yield there === undefined
        ? { ...blank(this.#transfer.now), path: folder, ...this.#transfer.owner }
        : { ...there, path: folder };
    }
  }

  /** What the stage has there. What lies in a folder that is new is not looked for. */
  async #there(path: string): Promise<TreeEntry | undefined> {
    const { base } = this.#transfer;
    const slash = path.lastIndexOf('/');
    if (base.length === 0 || (slash >= 0 && this.#folders.get(path.slice(0, slash)) === false)) return undefined;
    const { entry } = await native().treeLookUp(base, path, false);
    return entry === null ? undefined : treeEntry(entry, Buffer.alloc(0));
  }

  #own(entry: TreeEntry): TreeEntry {
    const { owner, chmod } = this.#transfer;
    const isLink = entry.kind === 'symlink';
    const mode = chmod === undefined || isLink ? entry.mode : chmod(entry.mode, entry.kind === 'directory');
    return { ...entry, ...owner, mode };
  }
}

function blank(at: Instant): TreeEntry {
  const seconds = Math.floor(at / 1_000);
  return {
    kind: 'directory',
    path: '',
    link: '',
    mode: 0o755,
    uid: 0,
    gid: 0,
    size: 0,
    seconds,
    nanos: (at - seconds * 1_000) * 1_000_000,
    major: 0,
    minor: 0,
    last: true,
    body: null,
    xattrs: [],
  };
}

function inTheWay(path: string, what: string, there: TreeEntry): ClusterError {
  const kind = there.kind === 'directory' ? 'a folder' : there.kind === 'symlink' ? 'a symbolic link' : 'a file';
  return new ClusterError('invalid', `${what} cannot be copied to "/${shown(path)}", which is ${kind}`, {
    hint: 'copy it elsewhere, or remove what is there by a RUN before',
  });
}
