/** Containers of tasks that have ended: kept for their logs while there is room. */
import { dirname } from 'node:path';
import { noteOf } from '../container-request.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { Worker } from '../worker.ts';
import { bytesBelow } from './du.ts';
import type { DiskSource } from './keeper.ts';
import type { Held } from './marks.ts';

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
