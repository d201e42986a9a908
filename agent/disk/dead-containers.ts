/** Containers of tasks that have ended: kept for their logs while there is room. */
import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { noteOf } from '../container-request.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Worker } from '../worker.ts';
import type { DiskSource } from './keeper.ts';
import type { Held } from './marks.ts';

const run = promisify(execFile);

export interface DeadContainersTools {
  readonly runtime: Pick<Runtime, 'list'>;
  readonly worker: Pick<Worker, 'isOver' | 'discard'>;
}

export function deadContainers({ runtime, worker }: DeadContainersTools): DiskSource {
  return {
    async list(signal) {
      const dead: Held[] = [];
      for (const { id, exit, labels, logPath } of await runtime.list(signal)) {
        const taskId = noteOf(labels)?.taskId;
        if (exit === undefined || taskId === undefined || !worker.isOver(taskId)) continue;
        const bytes = await bytesBelow(dirname(logPath), signal);
        dead.push({ kind: 'container', id: taskId, name: id, bytes, usedAt: exit.finishedAt, worth: 'spare' });
      }
      return dead;
    },
    remove: (id) => worker.discard(id as Parameters<Worker['discard']>[0]),
  };
}

/** What a folder takes, without what is mounted in it. */
export async function bytesBelow(dir: string, signal: AbortSignal): Promise<number> {
  const { stdout } = await run('du', ['-sx', '--block-size=1', '--', dir], { signal });
  return Number.parseInt(stdout, 10);
}
