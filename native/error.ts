// The shape of what the addon throws.

/** A failed call of the native core; looks like Node's own file errors. */
export interface NativeError extends Error {
  /** Name of the errno, such as `ENOENT`. */
  readonly code: string;
  /** Negative, as in Node. */
  readonly errno: number;
  readonly syscall: string;
  /** The object the call was made on; null when there is none. */
  readonly path: string | null;
  /** What was being done inside the container's first process; null when this process failed itself. */
  readonly step: string | null;
}

/** Whether `error` came out of the addon. */
export function isNativeError(error: unknown): error is NativeError {
  return error instanceof Error && 'step' in error && 'syscall' in error && 'errno' in error;
}
