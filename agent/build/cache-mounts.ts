/**
 * What `RUN --mount=type=cache` keeps from build to build. A cache shows under its name only when it has all that it begins with.
 *
 *   DIR/<hex of an id>        a cache that is shared or locked
 *   DIR/<hex of an id>.N      further ones of a private cache that was in use
 *   DIR/<...>.json            its id, for people; its time is that of its last use
 *   DIR/new-<random>          being made      DIR/old-<random>   being removed; both go at the next start
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { diskError } from '../../common/oci/disk.ts';
import { Turns } from '../../common/turns.ts';
import { native } from '../../native/index.ts';
import { bytesBelow } from '../disk/du.ts';
import type { DiskSource } from '../disk/keeper.ts';
import type { Held } from '../disk/marks.ts';
import type { Undo } from './undo.ts';

const NAME = /^[0-9a-f]{64}(\.\d+)?$/;
const NOTE = '.json';

export interface CacheWish {
  /** Caches with one id are one. */
  readonly id: string;
  readonly sharing: 'shared' | 'private' | 'locked';
}

export class CacheMounts {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #locks = new Map<string, Turns>();
  readonly #making = new Turns(1);
  /** Steps that have a cache, by its name. */
  readonly #users = new Map<string, number>();

  private constructor(dir: string, clock: Clock) {
    this.#dir = dir;
    this.#clock = clock;
  }

  /** Takes away what a killed agent has left. */
  static async open(dir: string, clock: Clock): Promise<CacheMounts> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(dir)) {
      const isCache = NAME.test(name);
      const isNote = name.endsWith(NOTE) && NAME.test(name.slice(0, -NOTE.length));
      if (!isCache && !isNote) await native().removeTree(join(dir, name));
    }
    return new CacheMounts(dir, clock);
  }

  /**
   * The cache's folder, until `undo`.
   * @param fill  puts into a new one what it begins with
   * @throws ClusterError `exhausted` for a full disk
   */
  async take(
    { id, sharing }: CacheWish,
    fill: (dir: string) => Promise<void>,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<string> {
    const hex = createHash('sha256').update(id).digest('hex');
    let name = hex;
    if (sharing === 'private') for (let number = 2; this.#users.has(name); number += 1) name = `${hex}.${number}`;
    this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    undo.add(async () => this.#leave(name));
    if (sharing === 'locked') await this.#lock(name, undo, signal);
    const path = join(this.#dir, name);
    try {
      // One at a time: an empty folder would be renamed over another one, which a step has already.
      if (!existsSync(path)) await this.#making.run(() => this.#make(path, fill), signal);
      await this.#note(path, id);
    } catch (cause) {
      throw diskError(`cache mount ${id}`, cause);
    }
    return path;
  }

  /** For those who make room. */
  get held(): DiskSource {
    return {
      list: async (signal) => {
        const held: Held[] = [];
        for (const name of (await readdir(this.#dir)).filter((each) => NAME.test(each)))
          held.push(...(await this.#heldAt(name, signal)));
        return held;
      },
      remove: async (name) => {
        const path = join(this.#dir, name);
        if (!NAME.test(name) || this.#users.has(name) || !existsSync(path)) return false;
        const old = join(this.#dir, `old-${randomBytes(8).toString('hex')}`);
        // At once: a step that comes meanwhile makes a new one.
        renameSync(path, old);
        await rm(`${path}${NOTE}`, { force: true });
        await native().removeTree(old);
        return true;
      },
    };
  }

  /** None when it goes meanwhile. */
  async #heldAt(name: string, signal: AbortSignal): Promise<readonly Held[]> {
    const path = join(this.#dir, name);
    const note = await stat(`${path}${NOTE}`).catch(() => stat(path).catch(() => undefined));
    if (note === undefined) return [];
    const bytes = await bytesBelow(path, signal).catch(() => undefined);
    signal.throwIfAborted();
    if (bytes === undefined) return [];
    const worth = this.#users.has(name) ? 'needed' : 'spare';
    const shown = `cache mount ${await this.#idOf(path)}`;
    return [{ kind: 'build-cache', id: name, name: shown, bytes, usedAt: note.mtimeMs, worth }];
  }

  async #idOf(path: string): Promise<string> {
    const text = await readFile(`${path}${NOTE}`, 'utf8').catch(() => '{}');
    try {
      return String((JSON.parse(text) as { readonly id?: unknown }).id ?? '');
    } catch {
      return '';
    }
  }

  #leave(name: string): void {
    const left = (this.#users.get(name) ?? 1) - 1;
    if (left > 0) this.#users.set(name, left);
    else this.#users.delete(name);
  }

  async #lock(name: string, undo: Undo, signal: AbortSignal): Promise<void> {
    const turns = this.#locks.get(name) ?? new Turns(1);
    this.#locks.set(name, turns);
    const pass = await turns.take(signal);
    undo.add(async () => pass());
  }

  async #make(path: string, fill: (dir: string) => Promise<void>): Promise<void> {
    if (existsSync(path)) return;
    const fresh = join(this.#dir, `new-${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(fresh);
      await fill(fresh);
      await rename(fresh, path);
    } catch (cause) {
      await native().removeTree(fresh);
      throw cause;
    }
  }

  async #note(path: string, id: string): Promise<void> {
    const note = `${path}${NOTE}`;
    const usedAt = this.#clock.now() / 1_000;
    await utimes(note, usedAt, usedAt).catch(() => writeFile(note, JSON.stringify({ id }), { mode: 0o600 }));
  }
}
