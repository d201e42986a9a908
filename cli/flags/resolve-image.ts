/** `--resolve-image`: when a service's tag is asked of its registry anew. Pure. Source: docker stack deploy. */
import { ClusterError } from '../../common/errors.ts';
import { parseReference } from '../../common/oci/reference.ts';
import type { Given } from './service-edits.ts';

/** What a change of a service means for its image. */
export interface ImageWish {
  /** Goes into the spec; absent: what is there stays, with its digest. */
  readonly image?: string;
  /** The registry is asked, if it may know better than the cluster. */
  readonly asks: boolean;
}

/** Of `service create`, whose image is always new. @throws ClusterError `invalid` */
export function wishOfCreate(image: string, given: Given): ImageWish {
  return { image, asks: when(given) !== 'never' };
}

/**
 * Of `service update`: `always` asks, also without `--image` when the flag is given; `changed` only for another name or tag than
 * the service has; `never` takes what the cluster has.
 *
 * @param current  the image in force, pinned
 * @throws ClusterError `invalid`
 */
export function wishOfUpdate(current: string, given: Given): ImageWish {
  const asks = when(given);
  const wanted = typeof given.image === 'string' ? given.image : undefined;
  const bare = parseReference(current).reference;
  if (wanted === undefined) return given.resolveImage === 'always' ? { image: bare, asks: true } : { asks: false };
  const { reference, digest } = parseReference(wanted);
  if (asks === 'changed' && digest === undefined && reference === bare) return { asks: false };
  return { image: wanted, asks: asks !== 'never' };
}

function when({ resolveImage: given = 'always' }: Given): 'always' | 'changed' | 'never' {
  // `--no-resolve-image` makes it false.
  if (given === false) return 'never';
  if (given === 'always' || given === 'changed' || given === 'never') return given;
  throw new ClusterError('invalid', `"${String(given)}" is not known`, {
    field: '--resolve-image',
    hint: 'use always, changed or never',
  });
}
