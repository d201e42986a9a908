/**
 * The agent's memory on disk: one file a task, one for the cluster.
 *
 * Comes in: records, as often as they change. Goes out: the newest of each after a crash, whole (draft, fsync, rename).
 * It decides nothing; a file that cannot be read is set aside and told.
 */
import { chmod, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, messageOf } from '../common/errors.ts';
import { withResolvers } from '../common/iterate.ts';
import type { Log } from '../common/log.ts';
import type { TaskId } from '../common/model/ids.ts';
import type { Epoch } from '../common/model/node.ts';
import type { TaskStatus } from '../common/model/task.ts';
import { fromEpoch, toEpoch } from '../common/wire/node.ts';
import { fromTaskStatus, toTaskStatus } from '../common/wire/task.ts';
import { covey } from '../proto/messages.ts';
import type { Assignment } from './assignment.ts';
import { type ClusterMap, changedMap, EMPTY_MAP, fromAssignment, mapAsChange, toAssignment } from './cluster-map.ts';

/** A task and what was last said of it. */
export interface TaskRecord {
  readonly held: Assignment;
  readonly status?: TaskStatus;
}

/** What is known of the cluster. */
export interface ClusterRecord {
  /** The highest epoch ever seen; absent on a node that never had a session. */
  readonly epoch?: Epoch;
  readonly failoverAfterMs: number;
  /** HOST:PORT */
  readonly managers: readonly string[];
  readonly map: ClusterMap;
}

export interface Remembered {
  readonly tasks: readonly TaskRecord[];
  readonly cluster: ClusterRecord | undefined;
}

/** One file's writes: the newest bytes that wait (null: remove it), and who wants to know. */
interface Pending {
  bytes: Uint8Array | null;
  readonly done: PromiseLike<void>;
  readonly settle: (failure: unknown) => void;
}

export class AgentState {
  readonly #dir: string;
  readonly #tasks: string;
  readonly #log: Log;
  readonly #waiting = new Map<string, Pending>();
  readonly #busy = new Map<string, Promise<void>>();

  /** @param dir  made with mode 0700 by `load` */
  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#tasks = join(dir, 'tasks');
    this.#log = log;
  }

  /** Everything that was kept. Damaged files are renamed to `*.damaged` and logged. */
  async load(): Promise<Remembered> {
    await mkdir(this.#tasks, { recursive: true, mode: 0o700 });
    await chmod(this.#dir, 0o700);
    const tasks: TaskRecord[] = [];
    for (const name of await readdir(this.#tasks)) {
      if (name.includes('.')) continue;
      const record = await this.#read(join(this.#tasks, name), decodeTask);
      if (record !== undefined) tasks.push(record);
    }
    return { tasks, cluster: await this.#read(join(this.#dir, 'cluster'), decodeCluster) };
  }

  /** Resolves once this record, or a newer one of the task, is on the disk. @throws ClusterError `exhausted` when the disk is full */
  keepTask(record: TaskRecord): Promise<void> {
    return this.#write(join(this.#tasks, record.held.task.id), encodeTask(record));
  }

  /** Forgets the task. */
  dropTask(id: TaskId): Promise<void> {
    return this.#write(join(this.#tasks, id), null);
  }

  /** As `keepTask`. */
  keepCluster(record: ClusterRecord): Promise<void> {
    return this.#write(join(this.#dir, 'cluster'), encodeCluster(record));
  }

  /** Waits for all writes under way. */
  async close(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy.values());
  }

  /** Writes of one file follow one another; of those that wait only the newest is carried out. */
  async #write(path: string, bytes: Uint8Array | null): Promise<void> {
    let pending = this.#waiting.get(path);
    if (pending === undefined) {
      const end = withResolvers<void>();
      const settle = (failure: unknown): void => (failure === undefined ? end.resolve() : end.reject(failure));
      pending = { bytes, done: end.promise, settle };
      this.#waiting.set(path, pending);
      if (!this.#busy.has(path)) {
        const work = this.#drain(path).finally(() => this.#busy.delete(path));
        this.#busy.set(path, work);
      }
    }
    pending.bytes = bytes;
    await pending.done;
  }

  async #drain(path: string): Promise<void> {
    for (let pending = this.#waiting.get(path); pending !== undefined; pending = this.#waiting.get(path)) {
      this.#waiting.delete(path);
      try {
        if (pending.bytes === null) await rm(path, { force: true });
        else await replaceFile(path, pending.bytes);
        pending.settle(undefined);
      } catch (cause) {
        pending.settle(writeError(path, cause));
      }
    }
  }

  async #read<T>(path: string, decode: (bytes: Uint8Array) => T): Promise<T | undefined> {
    try {
      return decode(await readFile(path));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      this.#log.error({ path, cause }, 'a file of the agent is damaged and was set aside');
      await rename(path, `${path}.damaged`);
      return undefined;
    }
  }
}

async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.new`;
  try {
    const file = await open(draft, 'w', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true });
    throw cause;
  }
}

function writeError(path: string, cause: unknown): ClusterError {
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ClusterError('exhausted', `cannot write ${path}: the disk is full`, {
      hint: "free space in the agent's state directory",
      cause,
    });
  }
  return new ClusterError('internal', `cannot write ${path}: ${messageOf(cause)}`, { cause });
}

function encodeTask(record: TaskRecord): Uint8Array {
  const status = record.status === undefined ? {} : { status: toTaskStatus(record.status) };
  return covey.v1.TaskRecord.encode({ assignment: toAssignment(record.held), ...status }).finish();
}

function decodeTask(bytes: Uint8Array): TaskRecord {
  const { assignment, status } = covey.v1.TaskRecord.decode(bytes);
  const held = fromAssignment(assignment ?? {});
  return status === null || status === undefined ? { held } : { held, status: fromTaskStatus(status) };
}

function encodeCluster(record: ClusterRecord): Uint8Array {
  const { peers, ports, block, pool } = mapAsChange(record.map);
  return covey.v1.ClusterRecord.encode({
    ...(record.epoch === undefined ? {} : { epoch: toEpoch(record.epoch) }),
    failoverAfterMs: record.failoverAfterMs,
    managers: [...record.managers],
    block: block ?? '',
    pool: pool ?? '',
    peers,
    ports,
  }).finish();
}

function decodeCluster(bytes: Uint8Array): ClusterRecord {
  const message = covey.v1.ClusterRecord.decode(bytes);
  const { block, pool, peers, ports } = message;
  return {
    ...(message.epoch === null || message.epoch === undefined ? {} : { epoch: fromEpoch(message.epoch) }),
    failoverAfterMs: message.failoverAfterMs,
    managers: message.managers,
    map: changedMap(EMPTY_MAP, { complete: true, block, pool, peers, ports }),
  };
}
