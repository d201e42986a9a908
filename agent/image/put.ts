/** Puts images that this host has made into the cluster, and finds those that it starts from. */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';

/** The part of a manager that takes images; `rpcChannel(address, …).service(Images)` is one. */
export type ImageServer = Pick<Client<typeof Images>, 'putImage' | 'resolveImage'>;

export interface MadeImage {
  /** The very bytes. */
  readonly manifest: Uint8Array;
  /** NAME[:TAG], at least one. */
  readonly names: readonly string[];
  /** A blob that the manifest names. */
  readonly read: (blob: Digest) => AsyncIterable<Uint8Array>;
}

/** As the contract says: at most 1 MiB a message. */
const CHUNK_BYTES = 1024 * 1024;

/**
 * Puts it at the first manager that answers; the others copy it.
 *
 * @returns its digest
 * @throws ClusterError `invalid`, `exhausted`; `unavailable` when no manager could be asked
 */
export async function putImage(
  servers: readonly ImageServer[],
  image: MadeImage,
  signal: AbortSignal,
): Promise<Digest> {
  return await atAny(servers, (server) => putAt(server, image, signal), signal);
}

/**
 * The manifest's digest of the image that `name` leads to, brought into the cluster when it is not there.
 *
 * @param wish  `pull`: its registry is asked even when the cluster has one
 * @throws ClusterError as `covey image pull`
 */
export async function resolveImage(
  servers: readonly ImageServer[],
  wish: { readonly name: string; readonly pull: boolean },
  signal: AbortSignal,
): Promise<Digest> {
  return await atAny(
    servers,
    async (server) => {
      const { digest } = await server.resolveImage(wish, { signal });
      return digest as Digest;
    },
    signal,
  );
}

async function atAny<T>(
  servers: readonly ImageServer[],
  ask: (server: ImageServer) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  let failure = new ClusterError('unavailable', 'no manager is known', { hint: 'try again when one is back' });
  for (const server of servers) {
    try {
      return await ask(server);
    } catch (cause) {
      signal.throwIfAborted();
      failure = toClusterError(cause);
      if (failure.code !== 'unavailable') throw failure;
    }
  }
  throw failure;
}

async function putAt(server: ImageServer, image: MadeImage, signal: AbortSignal): Promise<Digest> {
  const over = new AbortController();
  const lacks = withResolvers<readonly Digest[]>();
  const inputs = inputsOf(image, lacks.promise, AbortSignal.any([signal, over.signal]));
  try {
    for await (const answer of server.putImage(inputs, { signal })) {
      if (answer.lacks) lacks.resolve(answer.lacks.digests as Digest[]);
      if (answer.image) return answer.image.digest as Digest;
    }
  } finally {
    over.abort();
    // A manager that has all it wants reads no further: the blob at hand is to be closed.
    await inputs.return(undefined);
  }
  throw new ClusterError('unavailable', 'the manager ended the call without taking the image');
}

async function* inputsOf(
  { manifest, names, read }: MadeImage,
  lacks: Promise<readonly Digest[]>,
  signal: AbortSignal,
): AsyncGenerator<covey.v1.PutImageInput.$Properties> {
  yield { head: { manifest, names: [...names] } };
  for (const digest of await untilAborted(lacks, signal)) {
    for await (const bytes of read(digest))
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield { chunk: bytes.subarray(at, at + CHUNK_BYTES) };
  }
}
