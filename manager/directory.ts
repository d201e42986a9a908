/** The manager's own directory: one process at a time, and the id that it keeps. */
import { mkdir, open, readFile, realpath, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { lockDirectory } from '../common/directory-lock.ts';
import { ClusterError } from '../common/errors.ts';
import { newId } from '../common/ids.ts';
import { isId, type ManagerId } from '../common/model/ids.ts';

export interface OwnDirectory {
  readonly managerId: ManagerId;
  release(): void;
}

/**
 * Makes the directory if need be, takes it for this process and reads or makes the manager's id.
 * @throws ClusterError `exists` when another manager runs on the directory, `invalid` when its id file is damaged
 */
export async function takeDirectory(directory: string, clock: Clock, signal: AbortSignal): Promise<OwnDirectory> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = await realpath(directory);
  const hint = 'stop it first, or give this one a directory of its own with --state-dir';
  const release = await lockDirectory({ program: 'manager', path, hint, clock }, signal);
  return { managerId: await managerId(join(path, 'manager-id')), release };
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
