/** From the image that a user names to the one manifest that every task of the revision runs (T25: resolved once, here). */

import type { ContainerTemplate } from '../../common/model/service.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { findImage } from '../images/image-records.ts';
import type { View } from '../store/store.ts';

/**
 * The container with its image pinned: `NAME:TAG@sha256:…` and the manifest's digest.
 * @param before  the container in force, when there is one: what is pinned there stays, whatever the tag points to by now
 * @throws ClusterError `not_found` when the cluster does not hold the image
 */
export function pinned(
  view: View,
  container: ContainerTemplate,
  before: ContainerTemplate | undefined,
): ContainerTemplate {
  if (before?.imageDigest !== undefined && before.image === container.image) {
    return { ...container, imageDigest: before.imageDigest };
  }
  const { reference, digest } = findImage(view, container.image);
  const { reference: named } = parseReference(container.image);
  // An older image that only its digest names is stored under a key that is no NAME:TAG.
  const shown = reference.includes('@') ? `${named}@${digest}` : `${reference}@${digest}`;
  return { ...container, image: shown, imageDigest: digest };
}
