/** What is kept of a container without a service on this host's disk: one file each, replaced whole. */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../common/log.ts';
import type { ContainerSpec } from '../../common/model/container.ts';
import type { Instant } from '../../common/model/ids.ts';
import { fromContainerSpec, toContainerSpec } from '../../common/wire/container.ts';
import { present } from '../../common/wire/fields.ts';
import { covey } from '../../proto/messages.ts';

/** Times are 0 when there was none. */
export interface ContainerRecord {
  readonly id: string;
  readonly spec: ContainerSpec;
  readonly createdAt: Instant;
  /** A user has started it and nobody stopped it since. */
  readonly wanted: boolean;
  /** Restarts since a user started it. */
  readonly restarts: number;
  /** Empty = none. */
  readonly address: string;
  readonly startedAt: Instant;
  readonly finishedAt: Instant;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Why it could not be started. */
  readonly error: string;
  /** Its writable layer is there. */
  readonly hasRun: boolean;
  /** Of the runs that its shim began while no agent was there, the number of the last that was counted. */
  readonly run: number;
  /** Entrypoint and arguments, the image's where the user named none. */
  readonly command: readonly string[];
}

/** Of a container that was just made. */
export function newRecord(id: string, spec: ContainerSpec, createdAt: Instant): ContainerRecord {
  const never = {
    startedAt: 0,
    finishedAt: 0,
    exitCode: 0,
    oomKilled: false,
    error: '',
    hasRun: false,
    run: 1,
    command: [],
  };
  return { id, spec, createdAt, wanted: false, restarts: 0, address: '', ...never };
}

/** The folder below the agent's state directory. */
export const RECORDS = 'engine';

const ID = /^[0-9a-f]{64}$/;

export class ContainerRecords {
  readonly #dir: string;
  readonly #log: Log;
  #turn: Promise<void> = Promise.resolve();

  constructor(stateDir: string, log: Log) {
    this.#dir = join(stateDir, RECORDS);
    this.#log = log;
  }

  /** Everything that was kept; what cannot be read is set aside and told. */
  async load(): Promise<readonly ContainerRecord[]> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    const found: ContainerRecord[] = [];
    for (const name of await readdir(this.#dir)) {
      if (!ID.test(name)) continue;
      try {
        found.push(decode(await readFile(join(this.#dir, name))));
      } catch (cause) {
        this.#log.error({ containerId: name, cause }, 'the record of a container is damaged and was set aside');
        await rename(join(this.#dir, name), join(this.#dir, `${name}.damaged`));
      }
    }
    return found;
  }

  /** On the disk when it resolves; one after the other. */
  keep(record: ContainerRecord): Promise<void> {
    return this.#after(async () => {
      const path = join(this.#dir, record.id);
      const file = await open(`${path}.new`, 'w', 0o600);
      try {
        await file.writeFile(encode(record));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
    });
  }

  drop(id: string): Promise<void> {
    return this.#after(() => rm(join(this.#dir, id), { force: true }));
  }

  #after(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

/** Whether containers without a service are here. */
export async function hasRecords(stateDir: string): Promise<boolean> {
  const names = await readdir(join(stateDir, RECORDS)).catch(() => []);
  return names.some((name) => ID.test(name));
}

function encode(record: ContainerRecord): Uint8Array {
  const { restarts: restartCount, spec, command, ...rest } = record;
  return covey.v1.ContainerRecord.encode({
    ...rest,
    command: [...command],
    restartCount,
    spec: toContainerSpec(spec),
  }).finish();
}

function decode(bytes: Uint8Array): ContainerRecord {
  const message = covey.v1.ContainerRecord.decode(bytes);
  // By name: a copy of the message would lack what is 0 or empty.
  const { id, createdAt, wanted, address, startedAt, finishedAt, exitCode, oomKilled, error, hasRun, run } = message;
  const { restartCount: restarts, spec, command } = message;
  const times = { createdAt, startedAt, finishedAt };
  const end = { exitCode, oomKilled, error, hasRun, run, command };
  return { id, ...times, wanted, address, ...end, restarts, spec: fromContainerSpec(present(spec, 'spec')) };
}
