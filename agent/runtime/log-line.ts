/** The lines of a container's log, as the shim writes them (native/shim/log.h): Kubernetes' CRI format, or Docker's json-file. */

export interface LogLine {
  /** RFC 3339 in UTC with nine decimals, always 30 characters: sorts as text. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** A piece of a line longer than 16 KiB; the next line of this stream goes on with it. */
  readonly partial: boolean;
  /** Without the newline. */
  readonly text: string;
}

/** A line whose text keeps every byte, also those that are no UTF-8. */
export interface LogEntry extends Omit<LogLine, 'text'> {
  readonly text: Uint8Array;
}

const SHAPE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) ([\s\S]*)$/;
const BRACE = 0x7b;

/** Undefined for text that is no line of ours, for instance the torn end of a file that is being written. */
export function parseLogLine(line: string): LogLine | undefined {
  const match = SHAPE.exec(line);
  if (match === null) return undefined;
  const [, time = '', stream, mark, text = ''] = match;
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', partial: mark === 'P', text };
}

/** A line of either format, without its newline; undefined as with `parseLogLine`. */
export function parseLogEntry(line: Buffer): LogEntry | undefined {
  if (line[0] === BRACE) return parseJsonLine(line.toString('utf8'));
  // Through Latin-1 each byte comes back as it was.
  const found = parseLogLine(line.toString('latin1'));
  return found === undefined ? undefined : { ...found, text: Buffer.from(found.text, 'latin1') };
}

/** Docker's json-file: a piece of a line is one whose text has no newline at its end. */
function parseJsonLine(line: string): LogEntry | undefined {
  let found: { readonly log?: unknown; readonly stream?: unknown; readonly time?: unknown };
  try {
    found = JSON.parse(line) as typeof found;
  } catch {
    // The torn end of a file that is being written.
    return undefined;
  }
  const { log, stream, time } = found;
  if (typeof log !== 'string' || typeof time !== 'string') return undefined;
  const partial = !log.endsWith('\n');
  const text = Buffer.from(partial ? log : log.slice(0, -1), 'utf8');
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', partial, text };
}

/** Milliseconds since 1970 of a line's time. */
export function instantOf(line: Pick<LogLine, 'time'>): number {
  return Date.parse(line.time);
}
