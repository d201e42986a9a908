/**
 * A container's folder on disk: what the agent writes, what the shim writes, and how it is read again.
 *
 * `container.json` and `config.json` are ours, written before the shim is started; `state.json`, `exit.json`, `control`
 * and `log` are the shim's. A folder without `container.json` was never finished, or is half removed: it may go.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instant } from '../../common/model/ids.ts';
import type { Labels } from '../../common/model/service.ts';
import type { OciConfig } from './oci-config.ts';
import type { Exit, PlacedFile } from './runtime.ts';

/** Raised when a field changes its meaning; a newer agent reads every older version. */
const VERSION = 1;

export interface ContainerNote {
  readonly id: string;
  readonly cgroup: string;
  readonly createdAt: Instant;
  readonly labels: Labels;
  /** Absent in notes of older agents: no. */
  readonly compressesLog?: boolean;
}

export class ContainerFolder {
  readonly path: string;

  constructor(stateDir: string, id: string) {
    this.path = join(stateDir, id);
  }

  get logPath(): string {
    return join(this.path, 'log');
  }

  /** Makes the folder. Rejects with EEXIST when there is one. */
  async make(): Promise<void> {
    await mkdir(this.path, { mode: 0o700 });
  }

  /** Writes the files that the container gets to see; gives their mounts. */
  async place(files: readonly PlacedFile[]): Promise<readonly { readonly source: string; readonly target: string }[]> {
    if (files.length === 0) return [];
    const folder = join(this.path, 'files');
    await mkdir(folder, { mode: 0o755 });
    return Promise.all(
      files.map(async ({ target, content }, number) => {
        const source = join(folder, String(number));
        await writeFile(source, content, { mode: 0o644 });
        return { source, target };
      }),
    );
  }

  /** The environment may hold secrets: both files are for root only. */
  async write(note: ContainerNote, config: OciConfig): Promise<void> {
    await this.#put('config.json', config);
    await this.#put('container.json', { version: VERSION, ...note });
  }

  /** Undefined when it was never written whole. */
  async note(): Promise<ContainerNote | undefined> {
    const found = await this.#read<ContainerNote & { readonly version: number }>('container.json');
    return found?.version === VERSION ? found : undefined;
  }

  config(): Promise<OciConfig | undefined> {
    return this.#read<OciConfig>('config.json');
  }

  /** Undefined while it lives, and for one whose shim was lost. */
  async exit(): Promise<Exit | undefined> {
    const found = await this.#read<ExitRecord>('exit.json');
    if (found === undefined) return undefined;
    const { code, signal, oomKilled, startedAt, finishedAt } = found;
    return { code, signal, oomKilled, startedAt: Date.parse(startedAt), finishedAt: Date.parse(finishedAt) };
  }

  /** Removes everything; idempotent. The note goes first, so that a half-removed folder is known as one. */
  async remove(): Promise<void> {
    await rm(join(this.path, 'container.json'), { force: true });
    await rm(this.path, { recursive: true, force: true });
  }

  async #put(name: string, value: unknown): Promise<void> {
    const fresh = join(this.path, `.${name}.new`);
    await writeFile(fresh, JSON.stringify(value), { mode: 0o600 });
    await rename(fresh, join(this.path, name));
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

/** Ids of all folders, finished or not; any order. */
export async function folderIds(stateDir: string): Promise<readonly string[]> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const entries = await readdir(stateDir, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}
