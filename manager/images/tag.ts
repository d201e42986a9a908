/** One more name for an image that is here. */
import { ClusterError } from '../../common/errors.ts';
import type { Image } from '../../common/model/cluster.ts';
import { parseReference } from '../../common/oci/reference.ts';
import type { ImageRecords } from './image-records.ts';

/** As ManagerImages.tag, whose turn it must be to store. */
export async function tagImage(
  records: ImageRecords,
  source: string,
  target: string,
  signal: AbortSignal,
): Promise<Image> {
  const { reference, name, digest } = parseReference(target);
  if (digest !== undefined) {
    throw new ClusterError('invalid', `"${target}" names a digest`, { field: 'target', hint: 'give NAME[:TAG]' });
  }
  const { indexDigest, isInRegistry: _, ...found } = records.find(source);
  // A registry's digest is of its own repository.
  const isSame = name === parseReference(found.reference).name && indexDigest !== undefined;
  const image: Image = { ...found, reference, ...(isSame ? { indexDigest } : {}) };
  await records.add([image], signal);
  return image;
}
