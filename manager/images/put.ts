/**
 * Takes an image that a host has made. Comes in: its manifest, and a way to get each blob that is not here. Goes out: an image all of
 * whose blobs are here and whose new layers were looked into. It names nothing: the caller commits the image.
 *
 * A layer that the cluster has was looked into when it came; that the config gives it its true DiffID, each host proves anyway.
 */
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { BlobSource, BlobStore } from '../../common/oci/blob-store.ts';
import { type ConfigFile, parseConfig } from '../../common/oci/config.ts';
import { digestOf } from '../../common/oci/digest.ts';
import type { LayerLimits } from '../../common/oci/layer.ts';
import { type Descriptor, JSON_BYTES_MAX, parseManifest } from '../../common/oci/manifest.ts';
import { fits, wrongPlatform } from '../../common/oci/platform.ts';
import type { WholeImage } from './image-records.ts';
import { checkLayers } from './layer-check.ts';

/** An image that is being put. */
export interface ImagePut {
  readonly manifest: Uint8Array;
  /** NAME:TAG, at least one. */
  readonly references: readonly string[];
  /** Which of these blobs are to be brought, in their order. */
  readonly lacking: (blobs: readonly Digest[], signal: AbortSignal) => Promise<readonly Digest[]>;
  /** One of those, in their order; called for each of them. */
  readonly bring: (blob: Descriptor) => BlobSource;
}

interface Taking extends ImagePut {
  readonly blobs: BlobStore;
  readonly filler: {
    fill(blob: Pick<Descriptor, 'digest' | 'size'>, source: BlobSource, signal: AbortSignal): Promise<void>;
  };
  /** Told of each blob before it is asked for: nobody may take it for garbage. */
  readonly pin: (digest: Digest) => void;
  readonly limits: LayerLimits;
}

/** @throws ClusterError `invalid` naming what is wrong, `exhausted` for a full disk, and what `bring` throws */
export async function takeImage(taking: Taking, signal: AbortSignal): Promise<WholeImage> {
  const { blobs, filler, pin, limits } = taking;
  const digest = digestOf(taking.manifest);
  const name = `image "${taking.references[0]}"`;
  const manifestText = Buffer.from(taking.manifest).toString('utf8');
  if (taking.manifest.length > JSON_BYTES_MAX) throw new ClusterError('invalid', `manifest of ${name} is too large`);
  const manifest = parseManifest(manifestText, `manifest ${digest} of ${name}`);
  const parts = new Map([manifest.config, ...manifest.layers].map((part) => [part.digest, part]));
  for (const part of [digest, ...parts.keys()]) pin(part);
  const lacking = await taking.lacking([...parts.keys()], signal);
  for (const part of lacking) {
    const blob = parts.get(part) as Descriptor;
    await filler.fill(blob, taking.bring(blob), signal);
  }
  const config = parseConfig(await blobs.text(manifest.config.digest, JSON_BYTES_MAX), `config of ${name}`);
  mustFit(name, manifest.layers.length, config);
  const isNew = manifest.layers.map((layer) => lacking.includes(layer.digest));
  const layers = manifest.layers.filter((_, at) => isNew[at]);
  const diffIds = config.diffIds.filter((_, at) => isNew[at]);
  const read = (layer: Digest): AsyncIterable<Uint8Array> => blobs.read(layer);
  await checkLayers([{ name, manifest: { ...manifest, layers }, config: { diffIds }, read }], limits, signal);
  const text = Buffer.from(taking.manifest);
  await filler.fill({ digest, size: text.length }, (offset) => once(text.subarray(offset)), signal);
  return { digest, manifestText, config, parts: [...parts.values()] };
}

function mustFit(name: string, layers: number, config: ConfigFile): void {
  if (!fits(config)) throw wrongPlatform(name, [config]);
  if (config.diffIds.length === layers) return;
  throw new ClusterError(
    'invalid',
    `${name} is malformed: its manifest has ${layers} layers, its config ${config.diffIds.length} DiffIDs`,
  );
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
