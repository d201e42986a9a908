/** Failures of the disk that holds images, in words. */
import { ClusterError, messageOf } from '../errors.ts';

const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG'];
const BUSY = ['EMFILE', 'ENFILE', 'ENOMEM'];

/** The system says that there is no room. */
export function isFull(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && FULL.includes(String(cause.code));
}

/** An error that `diskError` has made: this host's own trouble, whoever was asked for the bytes. */
export function isOwnTrouble(error: unknown): boolean {
  if (!(error instanceof ClusterError) || error.code !== 'exhausted') return false;
  const { cause } = error;
  return isFull(cause) || (cause instanceof Error && 'code' in cause && BUSY.includes(String(cause.code)));
}

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
