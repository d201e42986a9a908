/** Talks to a running cluster as its admin, through the context that `init` wrote. */
import { createReadStream } from 'node:fs';
import { ClusterError } from '../../common/errors.ts';
import { rpcChannel } from '../../common/rpc.ts';
import { readIdentity } from '../../common/tls/identity.ts';
import { Control } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';

const CHUNK_BYTES = 512 * 1024;

/** Calls `work` with a client of one of the context's managers; the first that answers serves. */
export async function withControl<T>(
  context: string,
  work: (control: Client<typeof Control>) => Promise<T>,
): Promise<T> {
  const identity = await readIdentity(context);
  if (identity === undefined)
    throw new ClusterError('not_found', `no context at ${context}`, { hint: 'is the cluster up?' });
  let last: unknown;
  for (const address of identity.managers) {
    const channel = rpcChannel(address, identity);
    try {
      return await work(channel.service(Control));
    } catch (cause) {
      if (!(cause instanceof ClusterError && cause.code === 'unavailable')) throw cause;
      last = cause;
    } finally {
      channel.close();
    }
  }
  throw last;
}

/** Sends an image archive to the cluster. */
export async function loadImage(context: string, file: string, signal: AbortSignal): Promise<void> {
  await withControl(context, async (control) => {
    const chunks = async function* () {
      for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES }))
        yield { chunk: chunk as Buffer };
    };
    await control.loadImage(chunks(), { signal });
  });
}
