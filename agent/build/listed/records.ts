/**
 * Which contents the last context from each origin had.
 *
 *   DIR/<origin>.json   one record; its time is that of its last use
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import type { Instant } from '../../../common/model/ids.ts';
import { diskError } from '../../../common/oci/disk.ts';

export interface ContextRecord {
  /** 64 hexadecimal digits: the folder of a host that it came from. */
  readonly origin: string;
  /** For people: the image that was built. */
  readonly name: string;
  /** Sizes by digest. */
  readonly contents: ReadonlyMap<string, number>;
  readonly usedAt: Instant;
}

const NAME = /^([0-9a-f]{64})\.json$/;
const DIGEST = /^[0-9a-f]{64}$/;

export class ContextRecords {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #known: Map<string, ContextRecord>;

  private constructor(dir: string, clock: Clock, known: Map<string, ContextRecord>) {
    this.#dir = dir;
    this.#clock = clock;
    this.#known = known;
  }

  /** Reads what is there; what a crash has left half written goes. */
  static async open(dir: string, clock: Clock): Promise<ContextRecords> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const known = new Map<string, ContextRecord>();
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      const origin = NAME.exec(name)?.[1];
      const said = origin === undefined ? undefined : read(await readFile(path, 'utf8'));
      if (origin === undefined || said === undefined) await rm(path, { force: true });
      else known.set(origin, { ...said, origin, usedAt: (await stat(path)).mtimeMs });
    }
    return new ContextRecords(dir, clock, known);
  }

  /** The longest unused first. */
  list(): readonly ContextRecord[] {
    return [...this.#known.values()].toSorted((a, b) => a.usedAt - b.usedAt);
  }

  get(origin: string): ContextRecord | undefined {
    return this.#known.get(origin);
  }

  /** Takes the place of the one before, which it gives. @throws ClusterError `exhausted` for a full disk */
  async put(record: Omit<ContextRecord, 'usedAt'>): Promise<ContextRecord | undefined> {
    const { origin, name, contents } = record;
    const path = this.#path(origin);
    const fresh = `${path}.${randomBytes(8).toString('hex')}`;
    const usedAt = this.#clock.now();
    const before = this.#known.get(origin);
    try {
      if (before !== undefined && before.name === name && isSame(before.contents, contents)) {
        await utimes(path, usedAt / 1_000, usedAt / 1_000);
      } else {
        await writeFile(fresh, JSON.stringify({ name, contents: [...contents] }), { mode: 0o600 });
        await rename(fresh, path);
      }
    } catch (cause) {
      await rm(fresh, { force: true });
      throw diskError('the records of build contexts', cause);
    }
    const replaced = this.#known.get(origin);
    this.#known.set(origin, { ...record, usedAt });
    return replaced;
  }

  /** Gives it; a missing one is fine. */
  async forget(origin: string): Promise<ContextRecord | undefined> {
    const record = this.#known.get(origin);
    this.#known.delete(origin);
    await rm(this.#path(origin), { force: true });
    return record;
  }

  #path(origin: string): string {
    return join(this.#dir, `${origin}.json`);
  }
}

function isSame(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): boolean {
  if (a.size !== b.size) return false;
  for (const digest of a.keys()) if (!b.has(digest)) return false;
  return true;
}

/** Undefined for what is not one of ours, whole. */
function read(text: string): Pick<ContextRecord, 'name' | 'contents'> | undefined {
  try {
    const { name, contents } = JSON.parse(text) as { readonly name: unknown; readonly contents: readonly unknown[] };
    const pairs = contents as readonly (readonly [digest: string, size: number])[];
    const isSound = pairs.every(([digest, size]) => DIGEST.test(digest) && Number.isSafeInteger(size));
    return typeof name === 'string' && isSound ? { name, contents: new Map(pairs) } : undefined;
  } catch {
    return undefined;
  }
}
