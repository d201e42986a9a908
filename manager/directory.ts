/** The manager's own directory: one process at a time, and the id that it keeps. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, open, readFile, realpath, rename } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import { newId } from '../common/ids.ts';
import { isId, type ManagerId } from '../common/model/ids.ts';

/** A manager that is being replaced takes a moment to go. */
const LOCK_WAIT_MS = 10_000;
const LOCK_TRY_MS = 100;

export interface OwnDirectory {
  readonly managerId: ManagerId;
  release(): void;
}

/**
 * Makes the directory if need be, takes it for this process and reads or makes the manager's id.
 * The lock is a name in the kernel that goes with the process, however it ends: nothing stale is left to clear away.
 * Source: unix(7), abstract socket addresses.
 * @throws ClusterError `exists` when another manager runs on the directory, `invalid` when its id file is damaged
 */
export async function takeDirectory(directory: string, clock: Clock, signal: AbortSignal): Promise<OwnDirectory> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = await realpath(directory);
  const name = `\0covey-manager-${createHash('sha256').update(path).digest('hex')}`;
  const endAt = clock.now() + LOCK_WAIT_MS;
  let lock = await tryLock(name);
  while (lock === undefined) {
    if (clock.now() >= endAt) {
      throw new ClusterError('exists', `another manager runs on ${directory}`, {
        field: 'state-dir',
        hint: 'stop it first, or give this one a directory of its own with --state-dir',
      });
    }
    await clock.sleep(LOCK_TRY_MS, signal);
    lock = await tryLock(name);
  }
  const held = lock;
  return { managerId: await managerId(join(path, 'manager-id')), release: () => held.close() };
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

async function managerId(path: string): Promise<ManagerId> {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw cause;
  });
  if (text !== undefined) {
    const id = text.trim();
    if (isId(id)) return id as ManagerId;
    throw new ClusterError('invalid', `${path} is damaged`, { hint: 'remove it: the manager makes a new id' });
  }
  const id = newId<ManagerId>();
  const draft = await open(`${path}.new`, 'w', 0o600);
  try {
    await draft.writeFile(`${id}\n`);
    await draft.sync();
  } finally {
    await draft.close();
  }
  await rename(`${path}.new`, path);
  return id;
}
