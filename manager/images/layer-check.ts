/** Looks into every layer of an image from somebody's file before the cluster has it: the agents' rules, applied at the door. */
import type { Digest } from '../../common/model/ids.ts';
import type { ConfigFile } from '../../common/oci/config.ts';
import { type LayerLimits, LayerReader } from '../../common/oci/layer.ts';
import type { Manifest } from '../../common/oci/manifest.ts';
import { several } from '../../common/several.ts';

/** An image whose layers can be read. */
export interface CheckedImage {
  /** What errors call it. */
  readonly name: string;
  readonly manifest: Manifest;
  /** As many DiffIDs as the manifest has layers. */
  readonly config: Pick<ConfigFile, 'diffIds'>;
  readonly read: (layer: Digest) => AsyncIterable<Uint8Array>;
}

/** Unpacking is another thread's or program's work; more at once than processors would only wait for each other. */
const CHECKS_MAX = 3;

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
  const todo = new Map<string, { readonly image: CheckedImage; readonly digest: Digest; readonly diffId: Digest }>();
  for (const image of images) {
    for (const [index, { digest }] of image.manifest.layers.entries()) {
      const diffId = image.config.diffIds[index] as Digest;
      const pair = `${digest} ${diffId}`;
      if (!todo.has(pair)) todo.set(pair, { image, digest, diffId });
    }
  }
  const work = (
    { image, digest, diffId }: { image: CheckedImage; digest: Digest; diffId: Digest },
    stop: AbortSignal,
  ) => proved(image, { digest, diffId }, limits, stop);
  await several([...todo.values()], CHECKS_MAX, work, signal);
}

async function proved(
  image: CheckedImage,
  { digest, diffId }: { readonly digest: Digest; readonly diffId: Digest },
  limits: LayerLimits,
  signal: AbortSignal,
): Promise<void> {
  const reader = new LayerReader(image.read(digest), `layer ${digest} of ${image.name}`, limits);
  try {
    do signal.throwIfAborted();
    while ((await reader.next()) !== undefined);
    await reader.prove(diffId);
  } finally {
    await reader.close();
  }
}
