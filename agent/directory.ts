/** The agent's own directory: one process at a time. */
import { mkdir, realpath } from 'node:fs/promises';
import type { Clock } from '../common/clock.ts';
import { lockDirectory } from '../common/directory-lock.ts';

/**
 * Makes the directory if need be and takes it for this process; the returned function gives it back.
 * @throws ClusterError `exists` when an agent runs on the directory
 */
export async function takeDirectory(directory: string, clock: Clock, signal: AbortSignal): Promise<() => void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = await realpath(directory);
  return await lockDirectory(
    { program: 'agent', path, hint: 'stop it first: systemctl stop covey-agent', clock },
    signal,
  );
}
