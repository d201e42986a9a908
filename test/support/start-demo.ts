/** `npm start` without its setup, and what its tests ask of the cluster behind it. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLayout } from '../../deploy/dev/door.ts';
import { membersOf } from '../../deploy/dev/processes.ts';
import { type Said, say } from './dev-cluster.ts';

/** The compiled program. */
export const START = 'dist/deploy/dev/start.js';

/** A directory for a cluster, empty. */
export function clusterDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'cv-'));
}

/** Runs it to its end. */
export function startDemo(dir: string, ...flags: readonly string[]): Promise<Said> {
  return say(process.execPath, [START, ...flags, '--dir', dir]);
}

/** The process that keeps the cluster's processes running. */
export function supervisorOf(dir: string): number {
  return Number(readFileSync(join(readLayout(dir).runDir, 'supervisor.pid'), 'utf8'));
}

/** Every process of the cluster: supervisor, managers, etcd, agents, shims and what runs in containers. */
export function processesOf(dir: string): readonly number[] {
  const layout = readLayout(dir);
  return [supervisorOf(dir), ...membersOf(layout, layout.hosts)];
}
