/**
 * Contents of builds' contexts, kept for the next build. Comes in: a listing, and the contents that are not here, as bytes of a client that
 * is not believed. Goes out: a tree. A content is here for as long as a context that is remembered, or a build under way, has it.
 *
 *   DIR/contexts   what the last context from each origin had (records.ts)
 *   DIR/contents   the contents (contents.ts)
 */
import { join } from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import { ClusterError } from '../../../common/errors.ts';
import { shown } from '../../../common/oci/tar.ts';
import type { DiskSource } from '../../disk/keeper.ts';
import { receive } from './arrival.ts';
import { type Content, ContentFolder } from './contents.ts';
import type { ListedEntry } from './listing.ts';
import { ContextRecords } from './records.ts';
import { ListedTree } from './tree.ts';

/** More folders than are built on a node from day to day; each is remembered with its last context only. */
const CONTEXTS_MAX = 64;
/** Of all that is remembered: bounds memory, and the time of a start. */
const CONTENTS_MAX = 1_000_000;

export interface ListedContext {
  readonly listing: readonly ListedEntry[];
  /** 64 hexadecimal digits. */
  readonly origin: string;
  /** For people. */
  readonly name: string;
  /** Told once, which of the listing's entries are to come, by their place in it. */
  readonly lacks: (entries: readonly number[]) => void;
  /** What then comes. */
  readonly contents: AsyncIterable<Uint8Array>;
}

/** A build's hold on a context. */
export interface TakenContext {
  readonly tree: ListedTree;
  readonly release: () => Promise<void>;
}

export class ContextStore {
  readonly #clock: Clock;
  readonly #records: ContextRecords;
  readonly #contents: ContentFolder;
  /** How many records and builds have a content. */
  readonly #users = new Map<string, number>();
  /** How many builds under way have a context from there. */
  readonly #origins = new Map<string, number>();

  private constructor(clock: Clock, records: ContextRecords, contents: ContentFolder) {
    this.#clock = clock;
    this.#records = records;
    this.#contents = contents;
    for (const record of records.list()) this.#use(record.contents.keys());
  }

  /** Takes away what a killed agent has left. */
  static async open(dir: string, clock: Clock): Promise<ContextStore> {
    const records = await ContextRecords.open(join(dir, 'contexts'), clock);
    const wanted = new Map(records.list().flatMap(({ contents }) => [...contents]));
    return new ContextStore(clock, records, await ContentFolder.open(join(dir, 'contents'), wanted));
  }

  /**
   * The context as a tree, once all of it is here.
   * @throws ClusterError `invalid` for contents that are not what the listing says, `exhausted` for a full disk
   */
  async take(context: ListedContext, signal: AbortSignal): Promise<TakenContext> {
    const { origin, name, listing } = context;
    const contents = contentsOf(listing);
    this.#use(contents.keys());
    count(this.#origins, origin, 1);
    const release = async (): Promise<void> => {
      count(this.#origins, origin, -1);
      await this.#leave(contents.keys());
    };
    try {
      const lacking = [...contents.values()].filter((each) => !this.#contents.has(each));
      context.lacks(lacking.map(({ at }) => at));
      await receive(lacking, context.contents, this.#contents, signal);
      await this.#remember(origin, name, new Map([...contents].map(([digest, { size }]) => [digest, size])));
    } catch (cause) {
      await release();
      throw cause;
    }
    const read = (digest: string, stop: AbortSignal): AsyncIterable<Uint8Array> => this.#contents.read(digest, stop);
    return { tree: new ListedTree(listing, this.#clock.now(), read), release };
  }

  /** For those who make room: an item is a context. */
  get held(): DiskSource {
    return {
      list: async () =>
        this.#records.list().map(({ origin, name, contents, usedAt }) => ({
          kind: 'build-cache',
          id: origin,
          name: `context of ${name}`,
          bytes: this.#share(contents),
          usedAt,
          worth: this.#origins.has(origin) ? 'needed' : 'spare',
        })),
      remove: async (origin) => {
        if (this.#origins.has(origin) || this.#records.get(origin) === undefined) return false;
        await this.#forget(origin);
        return true;
      },
    };
  }

  async #remember(origin: string, name: string, contents: ReadonlyMap<string, number>): Promise<void> {
    this.#use(contents.keys());
    try {
      const before = await this.#records.put({ origin, name, contents });
      if (before !== undefined) await this.#leave(before.contents.keys());
    } catch (cause) {
      await this.#leave(contents.keys());
      throw cause;
    }
    let sum = 0;
    for (const [at, record] of this.#records.list().toReversed().entries()) {
      sum += record.contents.size;
      if (at > 0 && (at >= CONTEXTS_MAX || sum > CONTENTS_MAX)) await this.#forget(record.origin);
    }
  }

  async #forget(origin: string): Promise<void> {
    const record = await this.#records.forget(origin);
    if (record !== undefined) await this.#leave(record.contents.keys());
  }

  /** What all of these have, and this one's share of what others have too. */
  #share(contents: ReadonlyMap<string, number>): number {
    let bytes = 0;
    for (const [digest, size] of contents) bytes += size / Math.max(1, this.#users.get(digest) ?? 1);
    return Math.round(bytes);
  }

  #use(digests: Iterable<string>): void {
    for (const digest of digests) count(this.#users, digest, 1);
  }

  async #leave(digests: Iterable<string>): Promise<void> {
    const left = [...digests];
    for (const digest of left) count(this.#users, digest, -1);
    // Each is asked about again: another build may have come meanwhile.
    for (const digest of left) if (!this.#users.has(digest)) await this.#contents.remove(digest);
  }
}

function count(counts: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}

/** Each once, with its first place in the listing. @throws ClusterError `invalid` for one that is said to have two sizes */
function contentsOf(listing: readonly ListedEntry[]): ReadonlyMap<string, Content & { readonly at: number }> {
  const contents = new Map<string, Content & { readonly at: number }>();
  for (const [at, { digest, size, path }] of listing.entries()) {
    if (digest === '') continue;
    const known = contents.get(digest);
    if (known === undefined) contents.set(digest, { digest, size, path, at });
    else if (known.size !== size)
      throw new ClusterError('invalid', `"${shown(path)}" of the build context is listed with a size that cannot be`);
  }
  return contents;
}
