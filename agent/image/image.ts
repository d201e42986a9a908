/**
 * The contract of a host's images: what the agent asks of whatever brings them here.
 *
 * Comes in: a reference for messages and a manifest digest that the manager resolved. Goes out: folders of unpacked
 * layers, read-only and shared by all containers, and the image's config. It never decides which image a task runs and
 * never deletes one that the caller says is in use. Implemented by layer-images.ts and, for tests, test/support/fake-images.ts.
 */
import type { Digest, Instant } from '../../common/model/ids.ts';
import type { ImageConfig } from '../../common/oci/config.ts';

/** An image that lies on this host, ready to be a container's root file system. */
export interface UnpackedImage {
  readonly digest: Digest;
  /** Absolute folders, lowest first, whiteouts in overlayfs' form; at least one. Not to be written to. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

/**
 * Errors of `ensure`, all ClusterError:
 * - `unavailable` (temporary): no manager reachable, or none has a blob at present
 * - `exhausted` (temporary): the disk is full; what was half unpacked is gone
 * - `not_found` (final): no manager knows the blob
 * - `invalid` (final): the image is broken or for another platform; the message names the object
 */
export interface Images {
  /**
   * Pulls and unpacks what is missing; at once when nothing is. Concurrent calls for one image share the work; aborting
   * ends one caller's wait, and the work when nobody waits any more.
   */
  ensure(reference: string, digest: Digest, signal: AbortSignal): Promise<UnpackedImage>;
  /** Every image that is wholly here, in no order. */
  list(): Promise<readonly HeldImage[]>;
  /** These are used now. */
  touch(inUse: ReadonlySet<Digest>, now: Instant): Promise<void>;
  /** Removes one image and the layers that only it has. False when it is being brought, or is not here. */
  remove(digest: Digest, signal: AbortSignal): Promise<boolean>;
  /** Removes layers and blobs that no image has and nobody brings or holds: what crashes and dropped steps of builds left. */
  sweep(signal: AbortSignal): Promise<void>;
}

/** An image that is wholly on this host. */
export interface HeldImage {
  readonly digest: Digest;
  /** As it was asked for. */
  readonly reference: string;
  /** Absolute folders, shared by the images that have the layer. */
  readonly layers: readonly string[];
  /** When it was last known to be used. */
  readonly usedAt: Instant;
}
