/**
 * The folders that layers are unpacked into, one a DiffID, shared by every image that has the layer.
 *
 *   DIR/<hex>            an unpacked layer, whole
 *   DIR/<hex>.unsynced   the boot in which it was unpacked, until the kernel has written it out
 *   DIR/new-<random>     being unpacked; removed at the next start
 *   DIR/old-<random>     being removed
 *
 * DIR is 0700: layers hold set-uid programs that nobody on the host may reach.
 */
import { randomBytes } from 'node:crypto';
import { renameSync } from 'node:fs';
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../common/model/ids.ts';
import { diskError } from '../../common/oci/disk.ts';
import { native } from '../../native/index.ts';

const LAYER_NAME = /^[0-9a-f]{64}$/;
const UNSYNCED = '.unsynced';

export class LayerFolders {
  readonly #dir: string;
  readonly #syncs = new Set<Promise<void>>();

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes DIR and removes what a crash, of us or of the machine, left in doubt. */
  static async open(dir: string): Promise<LayerFolders> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const folders = new LayerFolders(dir);
    await folders.#repair();
    return folders;
  }

  pathOf(diffId: Digest): string {
    return join(this.#dir, diffId.slice('sha256:'.length));
  }

  async has(diffId: Digest): Promise<boolean> {
    try {
      return (await stat(this.pathOf(diffId))).isDirectory();
    } catch {
      return false;
    }
  }

  /**
   * Makes a layer's folder by `fill`, which gets an empty one; it shows under its name only when that has succeeded.
   * One call at a time for a DiffID.
   */
  async make(diffId: Digest, fill: (dir: string) => Promise<void>): Promise<void> {
    await this.#fill(`layer ${diffId}`, async (dir) => {
      await fill(dir);
      await this.#show(dir, diffId);
    });
  }

  /** The same for a layer whose DiffID `fill` finds out. When it is here already, the new folder is dropped. */
  async add(fill: (dir: string) => Promise<Digest>): Promise<Digest> {
    let diffId: Digest | undefined;
    await this.#fill('a new layer', async (dir) => {
      diffId = await fill(dir);
      if (await this.has(diffId)) return await native().removeTree(dir);
      await this.#show(dir, diffId);
    });
    return diffId as Digest;
  }

  async #fill(name: string, work: (dir: string) => Promise<void>): Promise<void> {
    const dir = join(this.#dir, `new-${randomBytes(8).toString('hex')}`);
    try {
      await mkdir(dir);
      // The root's own mode, unless the layer has an entry for it; mkdir's would depend on the umask.
      await chmod(dir, 0o755);
      await work(dir);
    } catch (cause) {
      await native().removeTree(dir);
      throw diskError(name, cause);
    }
  }

  async #show(dir: string, diffId: Digest): Promise<void> {
    const note = `${this.pathOf(diffId)}${UNSYNCED}`;
    try {
      await writeFile(note, native().bootId(), { mode: 0o600 });
    } catch (cause) {
      if (!(await this.has(diffId))) await rm(note, { force: true });
      throw cause;
    }
    try {
      await rename(dir, this.pathOf(diffId));
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      // Another has brought the same layer in the meantime.
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw cause;
      await native().removeTree(dir);
    }
    this.#syncLater(diffId);
  }

  /** Every whole layer, in no order. */
  async list(): Promise<readonly Digest[]> {
    return (await readdir(this.#dir)).filter((name) => LAYER_NAME.test(name)).map((name) => `sha256:${name}` as Digest);
  }

  /** Takes a layer out of sight at once, synchronously, and gives what removes its files. */
  hide(diffId: Digest): () => Promise<void> {
    const old = join(this.#dir, `old-${randomBytes(8).toString('hex')}`);
    renameSync(this.pathOf(diffId), old);
    return async () => {
      await native().removeTree(old);
      await rm(`${this.pathOf(diffId)}${UNSYNCED}`, { force: true });
    };
  }

  /** Resolves when all that was unpacked so far is on the disk. Never rejects. */
  async synced(): Promise<void> {
    while (this.#syncs.size > 0) await Promise.race(this.#syncs);
  }

  /**
   * A machine that loses its power may show a renamed folder with empty files. Waiting for the disk would delay every
   * first start, so the wait is behind it, and a layer of an earlier boot that still waits is not believed.
   */
  #syncLater(diffId: Digest): void {
    const sync = this.#sync(diffId).catch(() => undefined);
    const tracked = sync.then(() => {
      this.#syncs.delete(tracked);
    });
    this.#syncs.add(tracked);
  }

  async #sync(diffId: Digest): Promise<void> {
    const folder = await open(this.#dir, 'r');
    try {
      await native().syncFileSystem(folder.fd);
      await rm(`${this.pathOf(diffId)}${UNSYNCED}`, { force: true });
    } finally {
      await folder.close();
    }
  }

  async #repair(): Promise<void> {
    const boot = native().bootId();
    for (const name of await readdir(this.#dir)) {
      const path = join(this.#dir, name);
      if (name.startsWith('new-') || name.startsWith('old-')) await native().removeTree(path);
      if (!name.endsWith(UNSYNCED)) continue;
      const layer = path.slice(0, -UNSYNCED.length);
      if ((await readFile(path, 'utf8')) === boot) {
        this.#syncLater(`sha256:${name.slice(0, -UNSYNCED.length)}` as Digest);
        continue;
      }
      await native().removeTree(layer);
      await rm(path, { force: true });
    }
  }
}
