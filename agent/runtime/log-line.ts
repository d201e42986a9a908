/** The lines of a container's log, as the shim writes them (native/shim/log.h; the format is Kubernetes' CRI's). */

export interface LogLine {
  /** RFC 3339 in UTC with nine decimals, always 30 characters: sorts as text. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** A piece of a line longer than 16 KiB; the next line of this stream goes on with it. */
  readonly partial: boolean;
  /** Without the newline. */
  readonly text: string;
}

const SHAPE = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) ([\s\S]*)$/;

/** Undefined for text that is no line of ours, for instance the torn end of a file that is being written. */
export function parseLogLine(line: string): LogLine | undefined {
  const match = SHAPE.exec(line);
  if (match === null) return undefined;
  const [, time = '', stream, mark, text = ''] = match;
  return { time, stream: stream === 'stderr' ? 'stderr' : 'stdout', partial: mark === 'P', text };
}

/** Milliseconds since 1970 of a line's time. */
export function instantOf(line: LogLine): number {
  return Date.parse(line.time);
}

/** The files of one log, oldest first, for a newest file of that path. Those that do not exist are for the caller to skip. */
export function logFilesOf(newest: string, files: number): readonly string[] {
  return Array.from({ length: files }, (_, i) => (i === files - 1 ? newest : `${newest}.${files - 1 - i}`));
}
