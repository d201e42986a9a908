/** The processes of one container as the host's `ps` shows them. Source: docker top. */
import { execFile } from 'node:child_process';
import { readdir, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';

const execute = promisify(execFile);
const DEFAULT_ARGUMENTS = ['-ef'];

/**
 * Those of the pid namespace of `pid`, with the columns that `args` ask of ps.
 * @throws ClusterError `invalid` when ps does not understand them, or shows no PID to go by
 */
export async function processesOf(
  pid: number,
  args: readonly string[],
  signal: AbortSignal,
): Promise<covey.v1.ContainerProcesses.$Properties> {
  const asked = args.length === 0 ? DEFAULT_ARGUMENTS : args;
  const own = await pidsBeside(pid);
  const stdout = await shownBy(asked, own, signal);
  const [header = '', ...lines] = stdout.split('\n').filter((line) => line !== '');
  const titles = header.trim().split(/\s+/);
  const column = titles.indexOf('PID');
  if (column < 0) throw new ClusterError('invalid', 'ps shows no PID with these arguments', { field: 'arguments' });
  const rows = lines.map((line) => cellsOf(line, titles.length));
  const processes = rows.filter((cells) => own.has(Number(cells[column]))).map((cells) => ({ cells }));
  return { titles, processes };
}

/** Chosen by number, so that ps looks beyond its own terminal; some arguments cannot be given together with that. Source: moby, daemon/top_unix.go. */
async function shownBy(asked: readonly string[], pids: ReadonlySet<number>, signal: AbortSignal): Promise<string> {
  // Only what chooses columns and processes: a file to read or a path to write is no option of ps.
  const chosen = ['-q', [...pids].join(',')];
  const { stdout } = await execute('ps', [...asked, ...chosen], { signal })
    .catch(() => execute('ps', [...asked], { signal }))
    .catch((cause: unknown) => {
      throw new ClusterError('invalid', `ps ${asked.join(' ')}: ${messageOf(cause)}`, { field: 'arguments', cause });
    });
  return stdout;
}

/** The last column may hold blanks. */
function cellsOf(line: string, count: number): string[] {
  const words = line.trim().split(/\s+/);
  return [...words.slice(0, count - 1), words.slice(count - 1).join(' ')];
}

async function pidsBeside(pid: number): Promise<ReadonlySet<number>> {
  const own = await namespaceOf(pid);
  const found = new Set<number>();
  if (own === undefined) return found;
  for (const name of await readdir('/proc')) {
    const each = Number(name);
    if (Number.isInteger(each) && (await namespaceOf(each)) === own) found.add(each);
  }
  return found;
}

/** Undefined for one that has ended. */
async function namespaceOf(pid: number): Promise<string | undefined> {
  return await readlink(`/proc/${pid}/ns/pid`).catch(() => undefined);
}
