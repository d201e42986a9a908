/** Volumes of containers without a service: shown, and never removed to make room. */
import type { ContainerEngine } from '../engine/engine.ts';
import { bytesBelow } from './du.ts';
import type { DiskSource } from './keeper.ts';
import type { Held } from './marks.ts';

export function containerVolumes(engine: Pick<ContainerEngine, 'volumes'>): DiskSource {
  return {
    async list(signal) {
      const held: Held[] = [];
      for (const { name, path, createdAt } of await engine.volumes()) {
        const bytes = await bytesBelow(path, signal);
        held.push({ kind: 'volume', id: name, name, bytes, usedAt: createdAt, worth: 'needed' });
      }
      return held;
    },
    remove: async () => false,
  };
}
