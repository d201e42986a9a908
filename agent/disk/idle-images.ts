/**
 * Images on this host, and the packed copies of their layers that are kept for other nodes. An image that nothing here uses is
 * spare only when a manager says that nobody in the cluster uses it, now or to roll back to: without a manager images stay.
 */
import type { Log } from '../../common/log.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { HeldImage, Images } from '../image/image.ts';
import { bytesBelow } from './du.ts';
import type { DiskSource } from './keeper.ts';
import type { Held } from './marks.ts';

export interface IdleImagesTools {
  readonly images: Pick<Images, 'list' | 'remove'>;
  /** Images of what is on this host. */
  readonly inUse: () => ReadonlySet<Digest>;
  /** Of these, the ones that the cluster uses. @throws ClusterError when no manager can be asked */
  readonly usedElsewhere: (digests: readonly Digest[], signal: AbortSignal) => Promise<readonly Digest[]>;
  readonly log: Log;
}

export function idleImages({ images, inUse, usedElsewhere, log }: IdleImagesTools): DiskSource {
  return {
    async list(signal) {
      const held = await images.list();
      const here = inUse();
      const idle = held.map(({ digest }) => digest).filter((digest) => !here.has(digest));
      const used = await usedElsewhere(idle, signal).catch((cause: unknown) => {
        signal.throwIfAborted();
        log.debug({ cause }, 'no manager says which images are used');
        return idle;
      });
      const needed = new Set([...here, ...used]);
      const bytes = await ownBytes(held, signal);
      return held.map(({ digest, reference, usedAt }, index): Held => {
        const worth = needed.has(digest) ? 'needed' : 'spare';
        return { kind: 'image', id: digest, name: reference, bytes: bytes[index] ?? 0, usedAt, worth };
      });
    },
    async remove(id, signal) {
      return !inUse().has(id as Digest) && (await images.remove(id as Digest, signal));
    },
  };
}

/** What each takes: the layers that only it has, and its share of the others. */
async function ownBytes(held: readonly HeldImage[], signal: AbortSignal): Promise<readonly number[]> {
  const owners = new Map<string, number>();
  for (const folder of held.flatMap(({ layers }) => layers)) owners.set(folder, (owners.get(folder) ?? 0) + 1);
  const shares = new Map<string, number>();
  for (const [folder, count] of owners) shares.set(folder, Math.round((await bytesBelow(folder, signal)) / count));
  return held.map(({ layers }) => layers.reduce((sum, folder) => sum + (shares.get(folder) ?? 0), 0));
}

/** A build's cache, whose layers go with its entries. */
export function buildCache(cache: DiskSource, images: Pick<Images, 'sweep'>): DiskSource {
  return {
    list: (signal) => cache.list(signal),
    async remove(id, signal) {
      const isGone = await cache.remove(id, signal);
      await images.sweep(signal);
      return isGone;
    },
  };
}

/** What LayerImages offers of packed layers. */
export interface PackedLayers {
  packed(): Promise<readonly { readonly digest: Digest; readonly size: number; readonly at: number }[]>;
  dropPacked(digest: Digest): Promise<boolean>;
}

/** Copies for other nodes: they can be had again from managers. */
export function packedCopies(layers: PackedLayers): DiskSource {
  return {
    async list() {
      const packed = await layers.packed();
      return packed.map(({ digest, size, at }): Held => {
        return { kind: 'packed-layer', id: digest, name: digest, bytes: size, usedAt: at, worth: 'spare' };
      });
    },
    remove: (id) => layers.dropPacked(id as Digest),
  };
}
