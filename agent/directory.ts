/** The agent's own directory: one process at a time. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';

/** An agent that is being replaced takes a moment to go. */
const LOCK_WAIT_MS = 10_000;
const LOCK_TRY_MS = 100;

/**
 * Makes the directory if need be and takes it for this process; the returned function gives it back. The lock is a name
 * in the kernel that goes with the process, however it ends. Source: unix(7), abstract socket addresses.
 * @throws ClusterError `exists` when an agent runs on the directory
 */
export async function takeDirectory(directory: string, clock: Clock, signal: AbortSignal): Promise<() => void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = await realpath(directory);
  const name = `\0covey-agent-${createHash('sha256').update(path).digest('hex')}`;
  const endAt = clock.now() + LOCK_WAIT_MS;
  for (let lock = await tryLock(name); ; lock = await tryLock(name)) {
    const held = lock;
    if (held !== undefined) return () => held.close();
    if (clock.now() >= endAt) {
      throw new ClusterError('exists', `an agent runs on ${directory}`, {
        field: 'state-dir',
        hint: 'stop it first: systemctl stop covey-agent',
      });
    }
    await clock.sleep(LOCK_TRY_MS, signal);
  }
}

async function tryLock(name: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen(name);
    await once(server, 'listening');
    server.unref();
    return server;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw cause;
  }
}
