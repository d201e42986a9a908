/**
 * A container's folder on disk: what the agent writes, what the shim writes, and how it is read again.
 *
 * `container.json` and `config.json` are ours, written before the shim is started; `state.json`, `exit.json`, `control`
 * and `log` are the shim's. A folder without `container.json` was never finished: it may go.
 */
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Instant } from '../../common/model/ids.ts';
import type { Labels } from '../../common/model/service.ts';
import type { LayerAddon } from '../../native/layer.ts';
import type { IdRange } from './id-ranges.ts';
import type { OciConfig } from './oci-config.ts';
import type { Exit, PlacedFile } from './runtime.ts';

/** Raised when a field changes its meaning; a newer agent reads every older version. */
const VERSION = 1;
/** Begins the name of a folder that is being removed; no id does. */
const REMOVED = '.old-';

export interface ContainerNote {
  readonly id: string;
  readonly cgroup: string;
  readonly createdAt: Instant;
  readonly labels: Labels;
  /** Absent in notes of older agents: no. */
  readonly compressesLog?: boolean;
  /** It may be made again after its end; absent: no. */
  readonly isLasting?: true;
  /** What its user namespace maps to; absent: it has none. Held until the folder is gone. */
  readonly ids?: IdRange;
}

export class ContainerFolder {
  readonly path: string;

  constructor(stateDir: string, id: string) {
    this.path = join(stateDir, id);
  }

  get logPath(): string {
    return join(this.path, 'log');
  }

  /** What the container has written: overlayfs' upper folder. Source: native/src/oci_plan.cc. */
  get upperPath(): string {
    return join(this.path, 'upper');
  }

  /** Where the container's files will lie, and what they are mounted on. */
  mountsOf(files: readonly PlacedFile[]): readonly { readonly source: string; readonly target: string }[] {
    return files.map(({ target }, number) => ({ source: join(this.path, fileName(number)), target }));
  }

  /**
   * Makes the folder with all that is ours in it, the note last. Rejects with EEXIST when there is one. The environment
   * may hold secrets: config and note are for root only.
   * @param config  an OciConfig as JSON
   */
  async make(addon: LayerAddon, note: ContainerNote, config: string, files: readonly PlacedFile[]): Promise<void> {
    await addon.makeFolder(this.path, [
      ...files.map(({ content }, number) => ({ path: fileName(number), content, mode: 0o644 })),
      { path: 'config.json', content: config, mode: 0o600 },
      { path: 'container.json', content: JSON.stringify({ version: VERSION, ...note }), mode: 0o600 },
    ]);
  }

  /** The same for one that is made again: config and files are replaced, the note stays. */
  async renew(config: string, files: readonly PlacedFile[]): Promise<void> {
    const parts = [
      ...files.map(({ content }, number) => ({ name: fileName(number), content, mode: 0o644 })),
      { name: 'config.json', content: config, mode: 0o600 },
    ];
    for (const { name, content, mode } of parts) {
      const path = join(this.path, name);
      await writeFile(`${path}.new`, content, { mode });
      await rename(`${path}.new`, path);
    }
  }

  /** Undefined when it was never written whole. */
  async note(): Promise<ContainerNote | undefined> {
    const found = await this.#read<ContainerNote & { readonly version: number }>('container.json');
    return found?.version === VERSION ? found : undefined;
  }

  config(): Promise<OciConfig | undefined> {
    return this.#read<OciConfig>('config.json');
  }

  /** Of the shim, which of its container's runs this is; undefined before it was made. */
  state(): Promise<{ readonly run?: number; readonly startedAt?: string } | undefined> {
    return this.#read('state.json');
  }

  /** Undefined while it lives, and for one whose shim was lost. */
  exit(): Promise<Exit | undefined> {
    return this.exitIn('exit.json');
  }

  /** An exit record; of an earlier run it is `exit.N.json`. */
  async exitIn(name: string): Promise<Exit | undefined> {
    const found = await this.#read<ExitRecord>(name);
    if (found === undefined) return undefined;
    const { code, signal, oomKilled, startedAt, finishedAt } = found;
    return { code, signal, oomKilled, startedAt: Date.parse(startedAt), finishedAt: Date.parse(finishedAt) };
  }

  /** Removes everything; idempotent. One rename takes it out of sight, so that no half-removed folder is ever found. */
  async remove(addon: LayerAddon): Promise<void> {
    const old = join(dirname(this.path), `${REMOVED}${basename(this.path)}`);
    try {
      await rename(this.path, old);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') await addon.removeTree(this.path);
      else if (code !== 'ENOENT') throw cause;
    }
    await addon.removeTree(old);
  }

  async #read<T>(name: string): Promise<T | undefined> {
    try {
      return JSON.parse(await readFile(join(this.path, name), 'utf8')) as T;
    } catch {
      // Missing, or torn by a crash of the host: both mean that it was never written whole.
      return undefined;
    }
  }
}

interface ExitRecord {
  readonly code: number | null;
  readonly signal: number | null;
  readonly oomKilled: boolean;
  readonly startedAt: string;
  readonly finishedAt: string;
}

/** Below the container's own folder; it sees these files, so others than root may read them. */
function fileName(number: number): string {
  return `files/${number}`;
}

/**
 * Ids of all folders, finished or not; any order. What a crash has left of removed ones goes.
 * @param leaving  ids of containers that are being removed: what is left of theirs has its owner
 */
export async function folderIds(
  stateDir: string,
  addon: LayerAddon,
  leaving: ReadonlySet<string> = new Set(),
): Promise<readonly string[]> {
  const entries = await readdir(stateDir, { withFileTypes: true });
  const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  for (const name of names) {
    if (name.startsWith(REMOVED) && !leaving.has(name.slice(REMOVED.length)))
      await addon.removeTree(join(stateDir, name));
  }
  return names.filter((name) => !name.startsWith(REMOVED));
}
