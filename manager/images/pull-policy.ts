/**
 * An image as a service wants it: asked for at its registry when that may know better than the cluster. In go a name and how much the
 * registry's word counts; out comes the image, perhaps with a warning that the registry was not heard.
 */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import { isDigest } from '../../common/model/ids.ts';
import type { View } from '../store/store.ts';
import { findImage } from './image-records.ts';
import type { ManagerImages, Pulled } from './manager-images.ts';
import type { BlobProgress } from './pull.ts';

/**
 * `always`: the registry's word counts. `refresh`: not over an image that was loaded or built, and without the registry what the
 * cluster has will do. `missing`: only what the cluster has not.
 */
export type PullPolicy = 'always' | 'refresh' | 'missing';

export interface PullWish {
  /** `NAME[:TAG][@DIGEST]` */
  readonly reference: string;
  readonly policy: PullPolicy;
}

/** Failures that say nothing against the image there is. */
const UNHEARD = ['unavailable', 'exhausted', 'denied', 'not_found'];

/** @throws ClusterError as ManagerImages.pull, unless the cluster has an image that will do */
export async function pullAsWished(
  parts: { readonly images: Pick<ManagerImages, 'pull'>; readonly view: () => View },
  { reference, policy }: PullWish,
  onProgress: (progress: BlobProgress) => void,
  signal: AbortSignal,
): Promise<Pulled & { readonly warning: string }> {
  const held = policy === 'always' ? undefined : heldImage(parts.view(), reference);
  if (held !== undefined && (policy === 'missing' || !mayHaveMoved(held, reference)))
    return { image: held, isNew: false, warning: '' };
  try {
    return { ...(await parts.images.pull(reference, onProgress, signal)), warning: '' };
  } catch (cause) {
    signal.throwIfAborted();
    const error = toClusterError(cause);
    if (held === undefined || !UNHEARD.includes(error.code)) throw cause;
    // The first words are Docker's.
    const what = `image ${reference} could not be accessed on a registry to record its digest`;
    return { image: held, isNew: false, warning: `${what} (${error.message}); the one that the cluster has is used` };
  }
}

/** Only a tag moves, and only that of an image which its registry has. */
function mayHaveMoved(held: Image, reference: string): boolean {
  return held.isInRegistry === true && !isDigest(reference.slice(reference.indexOf('@') + 1));
}

function heldImage(view: View, reference: string): Image | undefined {
  try {
    return findImage(view, reference);
  } catch (cause) {
    if (cause instanceof ClusterError && cause.code === 'not_found') return undefined;
    throw cause;
  }
}
