/**
 * The volumes of this host: folders that containers without a service write into and that outlive them. Comes in: names. Goes out:
 * folders, each whole or not at all. Who uses one is not known here.
 *
 *   DIR/NAME/data          what containers are shown
 *   DIR/NAME/volume.json   the note; written before the name
 *   DIR/.new-NAME          one that is being made
 *   DIR/.old-NAME          one that is being removed
 */
import { mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import { Turns } from '../../common/turns.ts';
import { native } from '../../native/index.ts';

export interface Volume {
  readonly name: string;
  /** Absolute; as root of a container sees it, so are its owners. */
  readonly path: string;
  /** Ms since the epoch. */
  readonly createdAt: number;
  /** Nobody named it. */
  readonly anonymous: boolean;
}

type Note = Pick<Volume, 'createdAt' | 'anonymous'>;

/** The folder below the agent's state directory. */
const FOLDER = 'volumes';
const HALF = /^\.(?:new|old)-/;

export class Volumes {
  readonly #dir: string;
  /** One after the other: who makes one first fills it. */
  readonly #turns = new Turns(1);

  constructor(stateDir: string) {
    this.#dir = join(stateDir, FOLDER);
  }

  /** Takes away what a killed agent has left half made or half removed. */
  async sweep(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#dir)) if (HALF.test(name)) await native().removeTree(join(this.#dir, name));
  }

  /** All that are whole, by name. */
  async list(): Promise<readonly Volume[]> {
    const names = (await readdir(this.#dir)).filter((name) => !HALF.test(name)).toSorted();
    return await Promise.all(names.map((name) => this.#read(name)));
  }

  /**
   * The volume of that name; made when there is none.
   * @param fill  puts into one that is empty what it begins with; what it throws is thrown, and nothing is left of a new one
   */
  ensure(name: string, note: Note, fill: (path: string) => Promise<void>, signal: AbortSignal): Promise<Volume> {
    return this.#turns.run(async () => {
      if (await isThere(join(this.#dir, name))) {
        const found = await this.#read(name);
        if ((await readdir(found.path)).length === 0) await fill(found.path);
        return found;
      }
      await this.#make(name, note, fill);
      return { name, path: this.pathOf(name), ...note };
    }, signal);
  }

  /** False when there is none. */
  remove(name: string, signal: AbortSignal): Promise<boolean> {
    return this.#turns.run(async () => {
      const old = join(this.#dir, `.old-${name}`);
      if (!(await isThere(join(this.#dir, name)))) return false;
      await native().removeTree(old);
      await rename(join(this.#dir, name), old);
      await native().removeTree(old);
      return true;
    }, signal);
  }

  pathOf(name: string): string {
    return join(this.#dir, name, 'data');
  }

  async #make(name: string, note: Note, fill: (path: string) => Promise<void>): Promise<void> {
    const fresh = join(this.#dir, `.new-${name}`);
    await native().removeTree(fresh);
    try {
      await mkdir(join(fresh, 'data'), { recursive: true, mode: 0o755 });
      await fill(join(fresh, 'data'));
      await writeFile(join(fresh, 'volume.json'), JSON.stringify(note), { mode: 0o600, flush: true });
      await rename(fresh, join(this.#dir, name));
    } catch (cause) {
      await native().removeTree(fresh);
      throw cause;
    }
  }

  async #read(name: string): Promise<Volume> {
    const path = join(this.#dir, name, 'volume.json');
    try {
      const { createdAt, anonymous } = JSON.parse(await readFile(path, 'utf8')) as Note;
      return { name, path: this.pathOf(name), createdAt, anonymous };
    } catch (cause) {
      throw new ClusterError('internal', `the note of volume ${name} cannot be read`, { cause, hint: `see ${path}` });
    }
  }
}

/** Whether volumes are here. */
export async function hasVolumes(stateDir: string): Promise<boolean> {
  const names = await readdir(join(stateDir, FOLDER)).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return [];
    throw cause;
  });
  return names.some((name) => !HALF.test(name));
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    (cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') return false;
      throw cause;
    },
  );
}
