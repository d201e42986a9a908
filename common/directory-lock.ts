/** One process at a time on a program's own directory. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import type { Clock } from './clock.ts';
import { ClusterError } from './errors.ts';

/** A program that is being replaced takes a moment to go. */
const LOCK_WAIT_MS = 10_000;
const LOCK_TRY_MS = 100;

export interface DirectoryLock {
  /** `agent` or `manager`: part of the lock's name, so that both may use one directory. */
  readonly program: string;
  /** Absolute, links resolved. */
  readonly path: string;
  /** What to do when it is taken. */
  readonly hint: string;
  readonly clock: Clock;
}

/**
 * Takes the directory for this process; the returned function gives it back.
 *
 * The lock is a name in the kernel that goes with the process, however it ends: nothing stale is left to clear away.
 * Source: unix(7), abstract socket addresses.
 * @throws ClusterError `exists` when another process of the program has had it for 10 s
 */
export async function lockDirectory(lock: DirectoryLock, signal: AbortSignal): Promise<() => void> {
  const { program, path, hint, clock } = lock;
  const name = `\0covey-${program}-${createHash('sha256').update(path).digest('hex')}`;
  const endAt = clock.now() + LOCK_WAIT_MS;
  for (;;) {
    const held = await tryLock(name);
    if (held !== undefined) return () => held.close();
    if (clock.now() >= endAt) {
      throw new ClusterError('exists', `another ${program} runs on ${path}`, { field: 'state-dir', hint });
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
