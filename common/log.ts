/** The log: one JSON object a line on stderr; facts in fields, constant messages. What is secret never gets there. */
import pino, { type DestinationStream, type Logger } from 'pino';
import { ClusterError, messageOf } from './errors.ts';

export type Log = Logger;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface LogOptions {
  /** `covey-manager`, `covey-agent`… */
  readonly program: string;
  readonly level: LogLevel;
  /** Where to; default stderr. */
  readonly to?: DestinationStream;
}

/** Names of fields that are secrets wherever they stand; logged as `[secret]`. `key` at the top names a reconciler's key. */
const SECRET_FIELDS = ['joinSecret', 'secret', 'token', 'password', 'privateKey', 'caKey', 'authorization'];

/** As deep as an object in a log line may hold a secret: `{ cluster: { ca: { key } } }`. */
const SECRET_PATHS = [...SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]), '*.key', '*.*.key'];

/** Errors behind errors that a line shows; a ring of causes must end somewhere. */
const CAUSES_MAX = 5;

/** Writes synchronously, so that the last words of a dying program are there. */
export function makeLog(options: LogOptions): Log {
  return pino(
    {
      level: options.level,
      base: { program: options.program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { cause: plainError, err: plainError },
      redact: { paths: SECRET_PATHS, censor: '[secret]' },
    },
    options.to ?? pino.destination({ dest: 2, sync: true }),
  );
}

/** A log that says nothing. */
export const noLog: Log = pino({ level: 'silent' });

/** An error as fields: an expected one by code and words, for its stack says nothing new; a bug with its stack. */
function plainError(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  if (cause instanceof ClusterError && cause.code !== 'internal') {
    const { code, message, field, hint } = cause;
    return { code, message, field, hint, ...causesOf(cause) };
  }
  return { code: codeOf(cause), message: cause.message, stack: cause.stack, ...causesOf(cause) };
}

/** The words of the errors behind an error. */
function causesOf(error: Error): { readonly causes?: readonly string[] } {
  const causes: string[] = [];
  for (let cause = error.cause; cause !== undefined && causes.length < CAUSES_MAX; ) {
    causes.push(messageOf(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes.length === 0 ? {} : { causes };
}

function codeOf(error: Error): unknown {
  return 'code' in error ? error.code : undefined;
}
