/**
 * What a shim did while no agent was there: the runs of a container that it ended and began again in place
 * (native/shim/restart.h). It keeps the exits of the last 20 as `exit.N.json`; the run's number is in `state.json`.
 */
import { readdir } from 'node:fs/promises';
import type { Instant } from '../../common/model/ids.ts';
import type { ContainerFolder } from './container-folder.ts';
import type { PastRun } from './runtime.ts';

/** A container's runs: the one it is in, and those before it. */
export interface ContainerRuns {
  /** From 1. */
  readonly run: number;
  /** When that run began; undefined for the first, of which the agent knows itself. */
  readonly runStartedAt?: Instant;
  /** Oldest first; only the newest are kept. */
  readonly pastRuns: readonly PastRun[];
}

/** A container that was never run again. */
export const FIRST_RUN: ContainerRuns = { run: 1, pastRuns: [] };

const NAME = /^exit\.([1-9]\d*)\.json$/;

/** The runs of the container in this folder, as it lies on disk. */
export async function runsIn(folder: ContainerFolder): Promise<ContainerRuns> {
  const state = await folder.state();
  const run = state?.run ?? 1;
  if (run === 1) return FIRST_RUN;
  const pastRuns: PastRun[] = [];
  for (const name of await readdir(folder.path)) {
    const number = Number(NAME.exec(name)?.[1]);
    if (!Number.isInteger(number)) continue;
    const exit = await folder.exitIn(name);
    if (exit !== undefined) pastRuns.push({ number, exit });
  }
  pastRuns.sort((a, b) => a.number - b.number);
  const startedAt = Date.parse(state?.startedAt ?? '');
  return { run, pastRuns, ...(Number.isNaN(startedAt) ? {} : { runStartedAt: startedAt }) };
}
