/** From the image that a user names to the one manifest that every task of the revision runs (T25: resolved once, here). */
import { ClusterError } from '../../common/errors.ts';
import type { ContainerTemplate } from '../../common/model/service.ts';
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
  const [name = '', digest] = container.image.split('@');
  const reference = withTag(name);
  const image = view.get('image', reference)?.value;
  if (image === undefined || (digest !== undefined && digest !== image.digest)) {
    throw new ClusterError('not_found', `image "${container.image}" is not in the cluster`, {
      field: 'template.container.image',
      hint: image === undefined ? 'load it: covey image load FILE' : `"${reference}" has the digest ${image.digest}`,
    });
  }
  return { ...container, image: `${reference}@${image.digest}`, imageDigest: image.digest };
}

/** A name without tag means `latest`. A colon before the last slash belongs to a registry's port. */
export function withTag(name: string): string {
  return name.lastIndexOf(':') > name.lastIndexOf('/') ? name : `${name}:latest`;
}
