/** Looks into every layer of an image before the cluster has it: the agents' rules, applied at the door. */
import type { Digest } from '../../common/model/ids.ts';
import type { ConfigFile } from '../../common/oci/config.ts';
import { type LayerLimits, LayerReader } from '../../common/oci/layer.ts';
import type { Manifest } from '../../common/oci/manifest.ts';

/** An image whose layers can be read. */
export interface CheckedImage {
  /** What errors call it. */
  readonly name: string;
  readonly manifest: Manifest;
  /** As many DiffIDs as the manifest has layers. */
  readonly config: Pick<ConfigFile, 'diffIds'>;
  readonly read: (layer: Digest) => AsyncIterable<Uint8Array>;
}

/**
 * Reads each layer to its end, each one once.
 *
 * @throws ClusterError `invalid` naming layer, image and entry: a broken archive, a path or link that leaves the root, more
 *   than the limits, content other than the config's DiffID says
 */
export async function checkLayers(
  images: readonly CheckedImage[],
  limits: LayerLimits,
  signal: AbortSignal,
): Promise<void> {
  const checked = new Set<string>();
  for (const image of images) {
    for (const [index, layer] of image.manifest.layers.entries()) {
      const diffId = image.config.diffIds[index] as Digest;
      const pair = `${layer.digest} ${diffId}`;
      if (checked.has(pair)) continue;
      checked.add(pair);
      const name = `layer ${layer.digest} of ${image.name}`;
      await checkLayer(new LayerReader(image.read(layer.digest), name, limits), diffId, signal);
    }
  }
}

async function checkLayer(reader: LayerReader, diffId: Digest, signal: AbortSignal): Promise<void> {
  try {
    do signal.throwIfAborted();
    while ((await reader.next()) !== undefined);
    reader.prove(diffId);
  } finally {
    await reader.close();
  }
}
