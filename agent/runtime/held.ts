/** A container that the native runtime knows of, and what is said of it. */
import { ClusterError } from '../../common/errors.ts';
import type { Attendance, ContainerIdentity, ProcessWatch } from '../../native/container.ts';
import type { ContainerFolder, ContainerNote } from './container-folder.ts';
import type { ExecSession } from './exec.ts';
import type { ContainerRuns } from './past-runs.ts';
import type { Container, ContainerState, Exit } from './runtime.ts';

/** A container we know of; `ended` never rejects. */
export interface Held {
  readonly note: ContainerNote;
  readonly folder: ContainerFolder;
  readonly identity: ContainerIdentity;
  state: ContainerState;
  exit: Exit | undefined;
  readonly watch: ProcessWatch | undefined;
  /** While it is held we decide what follows an exit; undefined before the start. */
  attendance: Attendance | undefined;
  readonly runs: ContainerRuns;
  ended: Promise<Exit>;
  /** Users' commands that run in it. */
  readonly execs: Set<ExecSession>;
}

/** Of a container that nobody proves to be any more. */
export const NOBODY = { pid: 0, startTime: 0, shimPid: 0, shimStartTime: 0, life: 'exited' } as const;

/** As the contract says it. */
export function containerOf(held: Held): Container {
  const { note, folder, identity, state, exit, runs } = held;
  return {
    id: note.id,
    state,
    pid: identity.pid,
    startTime: identity.startTime,
    netnsPath: `/proc/${identity.pid}/ns/net`,
    logPath: folder.logPath,
    compressesLog: note.compressesLog ?? false,
    ...runs,
    createdAt: note.createdAt,
    labels: note.labels,
    ...(exit === undefined ? {} : { exit }),
  };
}

/** The record of a container whose shim was killed or whose host restarted: that it ended is all we know. */
export function lost(note: ContainerNote, now: number): Exit {
  return { code: null, signal: null, oomKilled: false, startedAt: note.createdAt, finishedAt: now };
}

/** The id is not free. */
export function taken(id: string): ClusterError {
  return new ClusterError('exists', `container ${id} exists already`, { hint: 'remove it first, or take another id' });
}
