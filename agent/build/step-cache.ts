/**
 * What steps have come to, by what they depended on. Comes in: a key that says everything a step's outcome depends on. Goes out: the
 * layer it made then. Builds that need the same step at once share its work.
 *
 *   DIR/<hex of the key>.json    one outcome; its time is that of its last use
 */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { type Digest, type Instant, isDigest } from '../../common/model/ids.ts';
import { diskError } from '../../common/oci/disk.ts';

/** What a step came to. */
export interface Outcome {
  readonly layer: Digest;
  /** When it was done. */
  readonly at: Instant;
  /** Of its files, for those who look for room. */
  readonly bytes: number;
}

export interface CacheEntry extends Outcome {
  readonly key: string;
  readonly usedAt: Instant;
}

const NAME = /^([0-9a-f]{64})\.json$/;

export class StepCache {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #known: Map<string, CacheEntry>;

  private constructor(dir: string, clock: Clock, known: Map<string, CacheEntry>) {
    this.#dir = dir;
    this.#clock = clock;
    this.#known = known;
  }

  /** Reads what is there; what a crash has left half written goes. */
  static async open(dir: string, clock: Clock): Promise<StepCache> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const known = new Map<string, CacheEntry>();
    for (const name of readdirSync(dir)) {
      const key = NAME.exec(name)?.[1];
      const found = key === undefined ? undefined : read(join(dir, name));
      if (key === undefined || found === undefined) await rm(join(dir, name), { force: true });
      else known.set(key, { ...found, key, usedAt: (await stat(join(dir, name))).mtimeMs });
    }
    return new StepCache(dir, clock, known);
  }

  /** Any order. */
  list(): readonly CacheEntry[] {
    return [...this.#known.values()];
  }

  /** Whether an outcome needs this layer. */
  holds(layer: Digest): boolean {
    for (const entry of this.#known.values()) if (entry.layer === layer) return true;
    return false;
  }

  /** Its use is remembered. */
  async find(key: string): Promise<Outcome | undefined> {
    const found = this.#known.get(key);
    if (found === undefined) return undefined;
    const usedAt = this.#clock.now();
    this.#known.set(key, { ...found, usedAt });
    await utimes(this.#path(key), usedAt / 1_000, usedAt / 1_000).catch(() => undefined);
    return found;
  }

  async keep(key: string, outcome: Outcome): Promise<void> {
    const fresh = `${this.#path(key)}.new`;
    try {
      await writeFile(fresh, JSON.stringify(outcome), { mode: 0o600 });
      await rename(fresh, this.#path(key));
    } catch (cause) {
      await rm(fresh, { force: true });
      throw diskError('the build cache', cause);
    }
    this.#known.set(key, { ...outcome, key, usedAt: this.#clock.now() });
  }

  /** A missing one is fine. */
  async forget(key: string): Promise<void> {
    this.#known.delete(key);
    await rm(this.#path(key), { force: true });
  }

  #path(key: string): string {
    return join(this.#dir, `${key}.json`);
  }
}

/** Undefined for what is not one of ours, whole. */
function read(path: string): Outcome | undefined {
  try {
    const { layer, at, bytes } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Outcome>;
    if (!isDigest(String(layer)) || typeof at !== 'number' || typeof bytes !== 'number') return undefined;
    return { layer: layer as Digest, at, bytes };
  } catch {
    return undefined;
  }
}
