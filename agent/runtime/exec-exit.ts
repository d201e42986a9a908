/** The shell's exit codes for commands that did not run. Source: POSIX, XCU 2.8.2; docker exec. */
import { ClusterError } from '../../common/errors.ts';
import { isNativeError } from '../../native/error.ts';

const STEPS: ReadonlySet<string> = new Set(['finding the command', 'running the command']);

/** 127 for one that does not exist, 126 for one that cannot be run; undefined for any other failure. */
export function exitOf(cause: unknown): { readonly code: number; readonly error: string } | undefined {
  if (!(cause instanceof ClusterError && isNativeError(cause.cause))) return undefined;
  const { step, code } = cause.cause;
  if (step === null || !STEPS.has(step)) return undefined;
  return { code: code === 'ENOENT' || code === 'ENOTDIR' ? 127 : 126, error: cause.message };
}
