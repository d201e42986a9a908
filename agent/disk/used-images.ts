/** Asks the managers which images somebody in the cluster uses. */
import { ClusterError } from '../../common/errors.ts';
import type { Digest } from '../../common/model/ids.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';

/** A manager that has not answered by then is not waited for. */
const ANSWER_MS = 5_000;

/** The first manager's answer. @throws ClusterError `unavailable` when none gives one */
export async function usedImages(
  servers: readonly Pick<Client<typeof Images>, 'usedImages'>[],
  digests: readonly Digest[],
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  if (digests.length === 0) return [];
  let failure: unknown = new ClusterError('unavailable', 'no manager is known');
  for (const server of servers) {
    try {
      const used = await server.usedImages({ digests: [...digests] }, { signal, deadlineMs: ANSWER_MS });
      return used.digests as Digest[];
    } catch (cause) {
      signal.throwIfAborted();
      failure = cause;
    }
  }
  throw failure;
}
