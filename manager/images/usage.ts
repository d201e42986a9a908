/** Who uses which image, read from the view. */
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { View } from '../store/store.ts';

/**
 * Names of the services that have a revision on the manifest `digest`, wanted or to roll back to or still running; sorted,
 * each once.
 */
export function servicesUsing(view: View, digest: Digest): readonly string[] {
  const names = new Set<string>();
  for (const { value } of view.all('revision')) {
    if (value.template.container.imageDigest === digest) names.add(value.serviceName);
  }
  return [...names].toSorted();
}

/** Everybody who uses the manifest, as an error names them: `service "web"`. */
export function usersOf(view: View, digest: Digest): readonly string[] {
  const containers = [...view.all('container')].filter(({ value }) => value.imageDigest === digest);
  const names = containers.map(({ value }) => `container "${value.name}"`).toSorted();
  return [...servicesUsing(view, digest).map((name) => `service "${name}"`), ...names];
}

/**
 * An image whose tag has gone to another: kept under its digest while a service uses it, so that its blobs are not collected.
 * Key: `NAME@sha256:…`.
 */
export function untaggedKey(image: Image): string {
  const colon = image.reference.lastIndexOf(':');
  return `${image.reference.slice(0, colon)}@${image.digest}`;
}

/** Whether it is kept for its digest only. */
export function isUntagged(image: Image): boolean {
  return image.reference.includes('@');
}
