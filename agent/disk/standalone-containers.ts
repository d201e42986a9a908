/** Containers that users run without a service: the ones that do not run go when a user says so, never by themselves. */
import { dirname } from 'node:path';
import type { ContainerEngine } from '../engine/engine.ts';
import { bytesBelow } from './du.ts';
import type { DiskSource } from './keeper.ts';
import type { Held } from './marks.ts';

export function standaloneContainers(engine: Pick<ContainerEngine, 'all' | 'find'>): DiskSource {
  return {
    async list(signal) {
      const held: Held[] = [];
      for (const { record, state, logPath } of engine.all) {
        const bytes = logPath === '' ? 0 : await bytesBelow(dirname(logPath), signal);
        const worth = state === 'exited' || state === 'created' ? 'asked' : 'needed';
        const usedAt = record.finishedAt || record.createdAt;
        held.push({ kind: 'container', id: record.id, name: record.spec.name, bytes, usedAt, worth });
      }
      return held;
    },
    async remove(id) {
      const found = engine.all.find(({ record }) => record.id === id);
      if (found === undefined || (found.state !== 'exited' && found.state !== 'created')) return false;
      await found.remove({ force: false });
      return true;
    },
  };
}
