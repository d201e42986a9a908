/** What builds keep, for those who make room. */
import type { DiskSource } from '../disk/keeper.ts';
import type { Held } from '../disk/marks.ts';
import type { LayerFolders } from '../image/layer-folders.ts';
import type { Holds } from './holds.ts';
import type { StepCache } from './step-cache.ts';

export interface HeldStepsTools {
  readonly cache: StepCache;
  readonly holds: Holds;
  readonly folders: Pick<LayerFolders, 'pathOf'>;
  /** Folders of layers that images on this host have. */
  readonly imageLayers: () => Promise<ReadonlySet<string>>;
}

/** Outcomes of steps; their layers go with the next collection, unless an image has them too. */
export function heldSteps({ cache, holds, folders, imageLayers }: HeldStepsTools): DiskSource {
  return {
    async list() {
      const shared = await imageLayers();
      return cache.list().map(({ key, layer, bytes, usedAt }): Held => {
        const isShared = shared.has(folders.pathOf(layer));
        return {
          kind: 'build-cache',
          id: key,
          name: `layer ${layer.slice('sha256:'.length, 'sha256:'.length + 12)}`,
          bytes: isShared ? 0 : bytes,
          usedAt,
          worth: holds.has(layer) ? 'needed' : 'spare',
          ...(isShared ? { isShared } : {}),
        };
      });
    },
    remove: async (key) => {
      const entry = cache.list().find((each) => each.key === key);
      if (entry === undefined || holds.has(entry.layer)) return false;
      await cache.forget(key);
      return true;
    },
  };
}

/** Several sources as one: an id begins with the name of its source. */
export function together(sources: Readonly<Record<string, DiskSource>>): DiskSource {
  return {
    async list(signal) {
      const lists = Object.entries(sources).map(async ([source, each]) =>
        (await each.list(signal)).map((held) => ({ ...held, id: `${source}:${held.id}` })),
      );
      return (await Promise.all(lists)).flat();
    },
    async remove(id, signal) {
      const colon = id.indexOf(':');
      return (await sources[id.slice(0, colon)]?.remove(id.slice(colon + 1), signal)) ?? false;
    },
  };
}
