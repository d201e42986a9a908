/** What the network must remember across restarts of the agent: the sysctls it found, and the marks it gave out. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import type { MarkNumbers } from './marks.ts';
import type { Sysctls } from './sysctls.ts';

export interface NetworkMemory {
  /** As they were before we first changed them. */
  readonly sysctls: Sysctls;
  readonly marks: MarkNumbers;
}

const NOTHING: NetworkMemory = { sysctls: {}, marks: {} };

/** Empty when there is no file. @throws ClusterError `internal` when it cannot be read: guessing would lose the sysctls */
export async function recall(path: string): Promise<NetworkMemory> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return NOTHING;
    throw new ClusterError('internal', `network memory ${path} cannot be read`, { cause });
  }
  try {
    const { sysctls, marks } = JSON.parse(text) as Partial<NetworkMemory>;
    return { sysctls: sysctls ?? {}, marks: marks ?? {} };
  } catch (cause) {
    throw new ClusterError('internal', `network memory ${path} is damaged`, {
      hint: `remove it; sysctls then stay as they are at "covey-agent leave"`,
      cause,
    });
  }
}

/** Written whole and renamed into place, readable by root only. */
export async function remember(path: string, memory: NetworkMemory): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.new`, JSON.stringify(memory), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** A file that is not there is fine. */
export async function forget(path: string): Promise<void> {
  await rm(path, { force: true });
}
