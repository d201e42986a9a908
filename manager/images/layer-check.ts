/** Looks into every layer of an archive before any of it is kept: the agents' rules, applied at the door. */
import { createReadStream } from 'node:fs';
import type { Digest } from '../../common/model/ids.ts';
import { type LayerLimits, LayerReader } from '../../common/oci/layer.ts';
import type { StagedFile } from './archive.ts';
import type { ArchiveImage } from './archive-images.ts';

const READ_BYTES = 512 * 1024;

/**
 * Reads each layer to its end, each one once.
 *
 * @throws ClusterError `invalid` naming layer, image and entry: a broken archive, a path or link that leaves the root, more
 *   than the limits, content other than the config's DiffID says
 */
export async function checkLayers(
  images: readonly ArchiveImage[],
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
      const file = image.blobs.get(layer.digest) as StagedFile;
      const name = `layer ${layer.digest} of image "${image.references[0]}"`;
      const source = createReadStream(file.path, { highWaterMark: READ_BYTES });
      await checkLayer(new LayerReader(source as AsyncIterable<Uint8Array>, name, limits), diffId, signal);
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
