/**
 * What `RUN --mount` asks for, as mounts of the step's container. Comes in: the step's mounts and where their files are. Goes out: OCI
 * mounts, and what takes away afterwards whatever was made for them. Secrets are only ever in memory.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanPath } from '../../common/context/paths.ts';
import { ClusterError } from '../../common/errors.ts';
import { native } from '../../native/index.ts';
import { writeTree } from '../image/layer-writer.ts';
import type { ContainerMount } from '../runtime/runtime.ts';
import { bytesOf } from './byte-paths.ts';
import type { CacheMounts } from './cache-mounts.ts';
import type { Mount, RunStep, Source } from './dockerfile/steps.ts';
import type { TreeOf } from './transfer-sources.ts';
import type { Undo } from './undo.ts';

/** A tmpfs on every Linux host. */
const MEMORY = '/dev/shm';
const SECRET = 'covey-secret-';

export interface MountSources {
  readonly treeOf: TreeOf;
  readonly secrets: ReadonlyMap<string, Uint8Array>;
}

export class RunMounts {
  readonly #caches: CacheMounts;
  readonly #workDir: string;
  /** Begins the names of our secrets: other agents of this machine have theirs beside them. */
  readonly #secretPrefix: string;

  /** @param workDir  where files lie that a step is shown */
  constructor(caches: CacheMounts, workDir: string) {
    this.#caches = caches;
    this.#workDir = workDir;
    this.#secretPrefix = secretPrefix(workDir);
  }

  /** Takes away what a killed agent has left. */
  static async sweep(workDir: string): Promise<void> {
    const prefix = secretPrefix(workDir);
    for (const name of await readdir(MEMORY))
      if (name.startsWith(prefix)) await rm(join(MEMORY, name), { force: true });
  }

  /** @throws ClusterError `invalid` for a secret that is not given, or a source that is not there */
  async make(
    step: RunStep,
    sources: MountSources,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<readonly ContainerMount[]> {
    const mounts: ContainerMount[] = [];
    for (const mount of step.mounts) {
      const made = await this.#mount(mount, sources, undo, signal);
      if (made !== undefined) mounts.push(made);
    }
    if (step.script !== undefined) mounts.push(await this.#script(step.script, undo));
    return mounts;
  }

  async #mount(
    mount: Mount,
    sources: MountSources,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<ContainerMount | undefined> {
    switch (mount.type) {
      case 'tmpfs':
        return tmpfs(mount.target, mount.sizeBytes);
      case 'secret':
        return await secret(mount, { secrets: sources.secrets, prefix: this.#secretPrefix }, undo);
      case 'cache':
        return bind(await this.#cache(mount, sources, undo, signal), mount.target, mount.readOnly);
      case 'bind': {
        const dir = await this.#folder(undo);
        const path = await this.#copy({ from: mount.from, source: mount.source }, dir, sources, signal);
        return bind(path, mount.target, mount.readOnly);
      }
    }
  }

  #cache(
    mount: Extract<Mount, { readonly type: 'cache' }>,
    sources: MountSources,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<string> {
    const fill = async (dir: string): Promise<void> => {
      await chmod(dir, mount.mode);
      await chown(dir, mount.uid, mount.gid);
      if (mount.from !== undefined) await this.#copy({ from: mount.from, source: mount.source }, dir, sources, signal);
    };
    return this.#caches.take(mount, fill, undo, signal);
  }

  /** Shown are copies: what a command writes into them, or another one meanwhile into the source, is nobody's. */
  async #copy(
    what: { readonly from: Source; readonly source: string },
    dir: string,
    sources: MountSources,
    signal: AbortSignal,
  ): Promise<string> {
    const tree = await sources.treeOf(what.from, signal);
    if (tree === undefined) return dir;
    const path = bytesOf(cleanPath(`/${what.source}`).slice(1));
    const place = await tree.lookUp(path, { follow: true });
    if (place.entry === undefined) throw new ClusterError('invalid', `"${what.source}" of a mount is not there`);
    const isFolder = place.entry.kind === 'directory';
    const entries = tree.entries(place.path, signal);
    await writeTree(dir, isFolder ? entries : renamed(entries, 'file'), signal);
    return isFolder ? dir : join(dir, 'file');
  }

  async #folder(undo: Undo): Promise<string> {
    const dir = await mkdtemp(join(this.#workDir, 'mount-'));
    await chmod(dir, 0o755);
    undo.add(() => native().removeTree(dir));
    return dir;
  }

  async #script(script: { readonly name: string; readonly content: string }, undo: Undo): Promise<ContainerMount> {
    const path = join(await this.#folder(undo), 'script');
    await writeFile(path, script.content);
    await chmod(path, 0o755);
    return bind(path, `/dev/pipes/${script.name}`, true);
  }
}

async function* renamed<T extends { readonly path: string }>(
  entries: AsyncIterable<T>,
  path: string,
): AsyncGenerator<T> {
  for await (const entry of entries) yield { ...entry, path };
}

function tmpfs(target: string, sizeBytes: number): ContainerMount {
  const size = sizeBytes === 0 ? [] : [`size=${sizeBytes}`];
  return { destination: target, type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777', ...size] };
}

function bind(source: string, target: string, isReadOnly: boolean): ContainerMount {
  const options = ['bind', isReadOnly ? 'ro' : 'rw', 'nosuid', 'nodev', 'private', 'idmap'];
  return { destination: target, type: 'bind', source, options };
}

async function secret(
  mount: Extract<Mount, { readonly type: 'secret' }>,
  { secrets, prefix }: { readonly secrets: ReadonlyMap<string, Uint8Array>; readonly prefix: string },
  undo: Undo,
): Promise<ContainerMount | undefined> {
  const value = secrets.get(mount.id);
  if (value === undefined) {
    if (!mount.required) return undefined;
    throw new ClusterError('invalid', `secret "${mount.id}" is required and was not given`, {
      hint: `build with --secret id=${mount.id},src=FILE`,
    });
  }
  if (mount.env !== undefined) {
    throw new ClusterError('invalid', `secret "${mount.id}" cannot be given in the environment (env=${mount.env})`, {
      hint: 'an environment is written to the disk; mount it as a file: --mount=type=secret,id=NAME,target=PATH',
    });
  }
  const path = join(MEMORY, `${prefix}${randomBytes(8).toString('hex')}`);
  undo.add(() => rm(path, { force: true }));
  await writeFile(path, value, { flag: 'wx', mode: 0o600 });
  await chown(path, mount.uid, mount.gid);
  await chmod(path, mount.mode);
  return bind(path, mount.target ?? `/run/secrets/${mount.id}`, true);
}

function secretPrefix(workDir: string): string {
  return `${SECRET}${createHash('sha256').update(workDir).digest('hex').slice(0, 12)}-`;
}
