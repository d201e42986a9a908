/** Failures of the disk that holds images, in words. */
import { ClusterError, messageOf } from '../errors.ts';

const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG'];
const BUSY = ['EMFILE', 'ENFILE', 'ENOMEM'];

/**
 * A full disk becomes `exhausted` (temporary: room may be made), a lack of descriptors or memory likewise; anything else is
 * given back as it is.
 *
 * @param what  the object that was written or read
 */
export function diskError(what: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof ClusterError || !('code' in cause)) return cause;
  const code = String(cause.code);
  if (FULL.includes(code)) {
    return new ClusterError('exhausted', `${what} cannot be written: no space left on the disk`, {
      hint: 'free space on this host; it is tried again',
      cause,
    });
  }
  if (BUSY.includes(code)) {
    return new ClusterError('exhausted', `${what}: ${messageOf(cause)}`, {
      hint: 'raise the limit; it is tried again',
      cause,
    });
  }
  return cause;
}
