/** `service logs`: lines of all tasks, as they come. */
import { ClusterError } from '../../common/errors.ts';
import { parseDuration } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { interruptible, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { wholeNumber } from '../flags/values.ts';

interface LogFlags {
  readonly follow?: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly timestamps?: boolean;
}

/** Prints to stdout what the tasks wrote to stdout, to stderr what they wrote there. */
export async function showLogs(ref: string, flags: LogFlags): Promise<void> {
  const tail = flags.tail === 'all' ? -1 : wholeNumber(flags.tail, '--tail');
  const since = flags.since === undefined ? 0 : sinceMs(flags.since, Date.now());
  const signal = interruptible();
  try {
    await withCluster(async (control) => {
      const request = { refs: [ref], follow: flags.follow === true, tail, since };
      for await (const line of control.logs(request, { signal })) printLine(line, flags.timestamps === true);
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    process.exitCode = EXIT.interrupted;
  }
}

function printLine(line: covey.v1.LogLine, timestamps: boolean): void {
  if (line.incomplete !== '') {
    process.stderr.write(`covey: incomplete: ${line.incomplete}\n`);
    process.exitCode = EXIT.error;
    return;
  }
  const prefix = `${line.serviceName}.${line.slot}.${line.taskId.slice(0, 12)}@${line.nodeName}    | `;
  const time = timestamps ? `${line.time} ` : '';
  const out = line.stream === 'stderr' ? process.stderr : process.stdout;
  out.write(Buffer.concat([Buffer.from(`${prefix}${time}`), line.text, Buffer.from('\n')]));
}

/** RFC 3339, seconds since 1970, or a duration before `now`; milliseconds since 1970. */
export function sinceMs(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1_000);
  if (/^\d{4}-\d{2}-\d{2}/.test(text)) {
    const at = Date.parse(text);
    if (!Number.isNaN(at)) return at;
  }
  try {
    return now - parseDuration(text, '--since');
  } catch (cause) {
    throw new ClusterError('invalid', `"${text}" is no time`, {
      field: '--since',
      hint: 'use RFC 3339, seconds since 1970, or how long ago, like 10m',
      cause,
    });
  }
}
