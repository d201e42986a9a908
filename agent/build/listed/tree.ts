/**
 * A context of which only the listing and the contents are here, read as if it lay in a folder: nothing is unpacked, and what a step
 * depends on is known without reading a file. Links are followed as natively (native/src/merged_tree.cc): none leads out.
 */
import { ClusterError } from '../../../common/errors.ts';
import type { Instant } from '../../../common/model/ids.ts';
import { shown } from '../../../common/oci/tar.ts';
import type { TreeEntry } from '../../../common/oci/tree-entry.ts';
import type { DigestedEntry, SourceTree } from '../source-tree.ts';
import type { ListedEntry } from './listing.ts';

/** What the kernel follows. Source: path_resolution(7). */
const LINKS_MAX = 40;

/** A content in pieces of any size. */
export type ReadContent = (digest: string, signal: AbortSignal) => AsyncIterable<Uint8Array>;

export class ListedTree implements SourceTree {
  readonly #entries = new Map<string, TreeEntry>();
  readonly #digests = new Map<string, string>();
  /** Names by folder, in order of their bytes. */
  readonly #names = new Map<string, string[]>();
  readonly #read: ReadContent;

  /**
   * @param listing  as `readListing` gives it
   * @param at  the time of the context's own folder
   */
  constructor(listing: readonly ListedEntry[], at: Instant, read: ReadContent) {
    this.#read = read;
    this.#add({ ...ROOT, seconds: Math.floor(at / 1_000) });
    for (const each of listing) this.#add(each);
    for (const names of this.#names.values()) names.sort((a, b) => (a < b ? -1 : 1));
  }

  #add({ digest, ...entry }: ListedEntry): void {
    const { path, kind } = entry;
    this.#entries.set(path, { ...entry, uid: 0, gid: 0, major: 0, minor: 0, last: true, body: null, xattrs: [] });
    if (digest !== '') this.#digests.set(path, digest);
    if (kind === 'directory') this.#names.set(path, []);
    if (path === '') return;
    const slash = path.lastIndexOf('/');
    this.#names.get(path.slice(0, Math.max(0, slash)))?.push(path.slice(slash + 1));
  }

  async lookUp(
    path: string,
    { follow }: { readonly follow: boolean },
  ): Promise<{ readonly path: string; readonly entry?: TreeEntry }> {
    const found = this.#resolve(path, follow);
    if (found.entry === undefined) return { path: found.path };
    return { path: found.path, entry: { ...found.entry, path: '', link: '' } };
  }

  async names(folder: string): Promise<readonly string[]> {
    const { path, entry } = this.#resolve(folder, true);
    return entry === undefined ? [] : (this.#names.get(path) ?? []);
  }

  async *entries(path: string, signal: AbortSignal): AsyncGenerator<TreeEntry> {
    for (const { entry, digest } of this.#walk(path)) {
      signal.throwIfAborted();
      if (digest === '' || entry.size === 0) yield entry;
      else yield* this.#withBody(entry, digest, signal);
    }
  }

  async *digests(path: string, signal: AbortSignal): AsyncGenerator<DigestedEntry> {
    for (const each of this.#walk(path)) {
      signal.throwIfAborted();
      yield each;
    }
  }

  async *#withBody(entry: TreeEntry, digest: string, signal: AbortSignal): AsyncGenerator<TreeEntry> {
    let done = 0;
    for await (const body of this.#read(digest, signal)) {
      const kind = done === 0 ? 'file' : 'append';
      done += body.length;
      yield { ...entry, kind, body, last: done === entry.size };
    }
  }

  /** From a path whose folders may be links; one at its end is told. Paths are told from there. */
  *#walk(path: string): Generator<DigestedEntry> {
    const { path: start, entry: top } = this.#resolve(path, false);
    if (top === undefined) throw missing(path);
    const left = [start];
    for (let at = left.pop(); at !== undefined; at = left.pop()) {
      const entry = this.#entries.get(at);
      if (entry === undefined) continue;
      const told = at === start ? '' : at.slice(start === '' ? 0 : start.length + 1);
      const digest = entry.kind === 'file' ? (this.#digests.get(at) ?? EMPTY_DIGEST) : '';
      yield { entry: { ...entry, path: told }, digest };
      const names = this.#names.get(at) ?? [];
      for (let i = names.length - 1; i >= 0; i -= 1) left.push(at === '' ? `${names[i]}` : `${at}/${names[i]}`);
    }
  }

  /** Where a path leads: links resolved up to what is not there. @throws ClusterError `invalid` for a circle, or a file as a folder */
  #resolve(path: string, follow: boolean): { readonly path: string; readonly entry?: TreeEntry } {
    const left = partsOf(path).reverse();
    let names: string[] = [];
    let links = 0;
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      if (name === '..') {
        names.pop();
        continue;
      }
      const entry = this.#entries.get([...names, name].join('/'));
      if (entry === undefined) return { path: unfolded([...names, name], left.toReversed()) };
      if (entry.kind === 'symlink' && (follow || left.length > 0)) {
        links += 1;
        if (links > LINKS_MAX) throw wrong(path, 'its links lead in a circle');
        if (entry.link.startsWith('/')) names = [];
        left.push(...partsOf(entry.link).reverse());
        continue;
      }
      if (entry.kind !== 'directory' && left.length > 0)
        throw wrong(path, `"/${shown([...names, name].join('/'))}" is no folder`);
      names.push(name);
    }
    const found = names.join('/');
    return { path: found, entry: this.#entries.get(found) as TreeEntry };
  }
}

/** Behind what is not there a path is no more than its words. */
function unfolded(names: readonly string[], rest: readonly string[]): string {
  const parts = [...names];
  for (const part of rest) {
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return parts.join('/');
}

const ROOT: ListedEntry = {
  kind: 'directory',
  path: '',
  mode: 0o755,
  seconds: 0,
  nanos: 0,
  size: 0,
  digest: '',
  link: '',
};

/** SHA-256 of nothing. */
const EMPTY_DIGEST = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function missing(path: string): ClusterError {
  return wrong(path, 'it is not there');
}

function wrong(path: string, why: string): ClusterError {
  return new ClusterError('invalid', `"/${shown(path)}" of the build context cannot be read: ${why}`, {
    hint: 'look at its spelling, and at .dockerignore',
  });
}
