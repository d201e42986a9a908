/** The one error type of Covey and the one table that maps its codes to gRPC and HTTP. */

export type ErrorCode =
  | 'invalid'
  | 'not_found'
  | 'exists'
  | 'conflict'
  | 'denied'
  | 'exhausted'
  | 'unavailable'
  | 'internal';

/** code -> [gRPC status, HTTP status]. Source: grpc/doc/statuscodes.md; RFC 9110 section 15. */
export const STATUS_OF: Readonly<Record<ErrorCode, readonly [grpc: number, http: number]>> = {
  invalid: [3, 400],
  not_found: [5, 404],
  exists: [6, 409],
  conflict: [10, 409],
  denied: [7, 403],
  exhausted: [8, 429],
  unavailable: [14, 503],
  internal: [13, 500],
};

export interface ErrorDetails {
  /** Path of the offending field, as in `endpoint.ports[0].published`. */
  readonly field?: string;
  /** What to do next, as a sentence part. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** `message` = what + which object + why, lower case, no full stop. */
export class ClusterError extends Error {
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ClusterError';
    this.code = code;
    this.field = details.field;
    this.hint = details.hint;
  }
}

/** The error as ours: a ClusterError stays itself, anything else becomes `internal` with the cause kept. */
export function toClusterError(cause: unknown): ClusterError {
  if (cause instanceof ClusterError) return cause;
  return new ClusterError('internal', messageOf(cause), { cause });
}

/** One line of text for any thrown thing. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Message, field and hint in one line for people. */
export function explain(error: ClusterError): string {
  const field = error.field === undefined ? '' : `${error.field}: `;
  const hint = error.hint === undefined ? '' : ` (${error.hint})`;
  return `${field}${error.message}${hint}`;
}
