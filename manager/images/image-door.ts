/** What agents ask of the cluster's images: the one to build from, a place for what they have made, and what is still used. */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Image } from '../../common/model/cluster.ts';
import type { Digest } from '../../common/model/ids.ts';
import { parseReference } from '../../common/oci/reference.ts';
import { toImage } from '../../common/wire/cluster.ts';
import type { covey } from '../../proto/messages.ts';
import type { Images } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { Store } from '../store/store.ts';
import { findImage } from './image-records.ts';
import type { ManagerImages } from './manager-images.ts';
import type { PeerBlobs } from './peer-blobs.ts';
import { usersOf } from './usage.ts';

type PutImageInput = covey.v1.PutImageInput;
type PutImageOutput = covey.v1.PutImageOutput.$Properties;

interface ImageDoor {
  readonly store: Store;
  readonly images: Pick<ManagerImages, 'blobs' | 'put' | 'pull'>;
  readonly peers: Pick<PeerBlobs, 'fetch'>;
}

/** Names one image may be given at once. */
const NAMES_MAX = 100;

export function imageDoor(door: ImageDoor): Pick<Handlers<typeof Images>, 'putImage' | 'resolveImage' | 'usedImages'> {
  return {
    putImage: (requests, { signal }) => putImage(door, requests, signal),
    resolveImage: async ({ name, pull }, { signal }) => toImage(await resolve(door, { name, pull }, signal)),
    usedImages: async ({ digests }) => ({
      digests: digests.filter((digest) => usersOf(door.store.view, digest as Digest).length > 0),
    }),
  };
}

/** @throws ClusterError as findImage, and as ManagerImages.pull */
async function resolve(
  { store, images }: ImageDoor,
  wish: { readonly name: string; readonly pull: boolean },
  signal: AbortSignal,
): Promise<Image> {
  if (!wish.pull) {
    try {
      return findImage(store.view, wish.name);
    } catch (cause) {
      if (toClusterError(cause).code !== 'not_found') throw cause;
    }
  }
  return (await images.pull(wish.name, () => undefined, signal)).image;
}

async function* putImage(
  door: ImageDoor,
  requests: AsyncIterable<PutImageInput>,
  signal: AbortSignal,
): AsyncGenerator<PutImageOutput> {
  const inputs = requests[Symbol.asyncIterator]();
  const first = await inputs.next();
  const head = first.done === true ? undefined : first.value.head;
  if (head === undefined || head === null) throw new ClusterError('invalid', 'an image is put without its manifest');
  const references = referencesOf(head.names ?? []);
  const incoming = new Incoming(inputs);
  const asked = withResolvers<readonly Digest[]>();
  const lacking = async (blobs: readonly Digest[], stop: AbortSignal): Promise<readonly Digest[]> => {
    const lacks = await lackingOf(door, blobs, stop);
    asked.resolve(lacks);
    return lacks;
  };
  const bring = (blob: { readonly size: number }) => incoming.begin(blob.size);
  const put = door.images.put({ manifest: head.manifest ?? new Uint8Array(), references, lacking, bring }, signal);
  const lacks = await untilAborted(Promise.race([asked.promise, put.then(() => [])]), signal);
  yield { lacks: { digests: [...lacks] } };
  yield { image: toImage(await put) };
}

/** What no manager can give. */
async function lackingOf(door: ImageDoor, blobs: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
  const named = new Set([...door.store.view.all('image')].flatMap(({ value }) => value.blobs));
  const lacks: Digest[] = [];
  for (const digest of blobs) {
    if (await door.images.blobs.has(digest)) continue;
    const isBrought =
      named.has(digest) &&
      (await door.peers.fetch(digest, signal).then(
        () => true,
        () => false,
      ));
    signal.throwIfAborted();
    if (!isBrought) lacks.push(digest);
  }
  return lacks;
}

/** @throws ClusterError `invalid` */
function referencesOf(names: readonly string[]): readonly string[] {
  if (names.length === 0 || names.length > NAMES_MAX)
    throw new ClusterError('invalid', `an image needs 1 to ${NAMES_MAX} names`, { field: 'names' });
  return names.map((text) => {
    const { reference, digest } = parseReference(text);
    if (digest === undefined) return reference;
    throw new ClusterError('invalid', `"${text}" names a digest`, { field: 'names', hint: 'give NAME[:TAG]' });
  });
}

/** Blobs one after the other in one stream of chunks, each of a known size. */
class Incoming {
  readonly #inputs: AsyncIterator<PutImageInput>;
  #rest: Uint8Array = new Uint8Array();
  /** Of the blob at hand. */
  #unread = 0;
  /** Bytes of earlier blobs that nobody read: another caller had brought those meanwhile. */
  #skipped = 0;

  constructor(inputs: AsyncIterator<PutImageInput>) {
    this.#inputs = inputs;
  }

  /** The next blob, of `size` bytes; its bytes are read from an offset on, at most once. */
  begin(size: number): (offset: number) => AsyncIterable<Uint8Array> {
    this.#skipped += this.#unread;
    this.#unread = size;
    return (offset) => this.#read(offset);
  }

  async *#read(offset: number): AsyncGenerator<Uint8Array> {
    for (let skip = this.#skipped + offset; skip > 0; ) skip -= (await this.#some(skip)).length;
    this.#skipped = 0;
    this.#unread -= offset;
    while (this.#unread > 0) {
      const piece = await this.#some(this.#unread);
      this.#unread -= piece.length;
      yield piece;
    }
  }

  async #some(max: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const next = await this.#inputs.next();
      if (next.done === true) throw new ClusterError('unavailable', 'the image was cut off', { hint: 'put it again' });
      this.#rest = next.value.chunk ?? new Uint8Array();
    }
    const piece = this.#rest.subarray(0, max);
    this.#rest = this.#rest.subarray(max);
    return piece;
  }
}
