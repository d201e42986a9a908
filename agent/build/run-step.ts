/**
 * Runs a command of a build in a container like any other, and gives what it has changed. Nothing of it stays, however it ends; what a
 * killed agent leaves is removed with all containers that nobody wants (worker.ts).
 */
import { randomBytes } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { formatBytes } from '../../common/units.ts';
import type { TreeLayer } from '../image/tree.ts';
import { readLog } from '../logs/reader.ts';
import type { ContainerMount, CreateRequest, Exit, PlacedFile, Runtime } from '../runtime/runtime.ts';
import { changesSince, footingOf } from './changes.ts';

/** Of its output, kept for the error of a command that fails. */
const LAST_BYTES = 4_096;
/** With less, a command that fails may have failed for it. */
const SCARCE_BYTES = 4 * 2 ** 20;

export interface RunTools {
  readonly runtime: Pick<Runtime, 'create' | 'start' | 'wait' | 'writable' | 'remove'>;
  readonly clock: Clock;
  /** Gives the container its way out; what it returns takes it away again. Asked for `default` only. */
  readonly connect: (id: string, pid: number, signal: AbortSignal) => Promise<() => Promise<void>>;
}

export interface RunRequest {
  /** Folders, lowest first, at least one. */
  readonly layers: readonly string[];
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly workdir: string;
  readonly user: string;
  readonly mounts: readonly ContainerMount[];
  readonly files: readonly PlacedFile[];
  readonly network: 'none' | 'default' | 'host';
  readonly onOutput: (stream: 'stdout' | 'stderr', text: Uint8Array) => void;
}

/**
 * @param use  takes what the command has changed, while it can be read
 * @throws ClusterError `invalid` when the command cannot be run or fails, with its exit code
 */
export async function runStep<T>(
  tools: RunTools,
  request: RunRequest,
  use: (changes: AsyncIterable<TreeEntry>) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const { runtime } = tools;
  const id = `build-${randomBytes(8).toString('hex')}`;
  let disconnect = async (): Promise<void> => undefined;
  try {
    const container = await runtime.create(createRequest(id, request), signal);
    const upper = await runtime.writable(id);
    const lower = request.layers.map((path): TreeLayer => ({ path, idBase: 0 })).toReversed();
    const footing = await footingOf(upper, lower, signal);
    if (request.network === 'default') disconnect = await tools.connect(id, container.pid, signal);
    await runtime.start(id, signal);
    await followed(tools, request, { id, logPath: container.logPath }, signal);
    return await use(changesSince(footing, upper, signal));
  } finally {
    await runtime.remove(id);
    await disconnect();
  }
}

/** Waits for its end, handing its output on. */
async function followed(
  { runtime, clock }: RunTools,
  { argv, onOutput }: RunRequest,
  { id, logPath }: { readonly id: string; readonly logPath: string },
  signal: AbortSignal,
): Promise<void> {
  let isGrowing = true;
  let last = Buffer.alloc(0);
  const ended = runtime.wait(id, signal).finally(() => {
    isGrowing = false;
  });
  ended.catch(() => undefined);
  const question = { path: logPath, tail: -1, since: 0, isGrowing: () => isGrowing, over: ended, clock };
  for await (const entries of readLog(question, signal)) {
    for (const { stream, text, partial } of entries) {
      const bytes = partial ? text : Buffer.concat([text, Buffer.from('\n')]);
      onOutput(stream, bytes);
      last = Buffer.concat([last, bytes]).subarray(-LAST_BYTES);
    }
  }
  const exit = await ended;
  if (exit.code !== 0) throw failed(argv, exit, `${last.toString('utf8')}${await shortage(logPath)}`);
}

/** What a command that fails for lack of room may not have been able to say: its lines go to that disk too. */
async function shortage(path: string): Promise<string> {
  const { bavail, bsize } = await statfs(dirname(path));
  const free = bavail * bsize;
  return free < SCARCE_BYTES ? `only ${formatBytes(free)} free on this node’s disk\n` : '';
}

/** In Docker's words. Source: moby, builder/dockerfile/dispatchers.go, `errdefs.StatusCode`. */
function failed(argv: readonly string[], exit: Exit, output: string): ClusterError {
  const code = exit.code ?? 128 + (exit.signal ?? 0);
  const oom = exit.oomKilled ? ' (it was out of memory)' : '';
  return new ClusterError('invalid', `The command '${argv.join(' ')}' returned a non-zero code: ${code}${oom}`, {
    field: `exit:${code}`,
    hint: output.trimEnd() === '' ? 'it said nothing' : `its last lines:\n${output.trimEnd()}`,
  });
}

/** Ids need no mapping where they are the host's. */
function unmapped(mount: ContainerMount): ContainerMount {
  return { ...mount, options: mount.options.filter((option) => option !== 'idmap') };
}

function createRequest(id: string, request: RunRequest): CreateRequest {
  const { layers, argv, env, workdir, user, mounts, files } = request;
  // A network namespace of the host's cannot be had in a user namespace of one's own.
  const isHosts = request.network === 'host';
  return {
    id,
    image: { layers, entrypoint: [], cmd: [], env: [], workdir: '', user, stopSignal: '' },
    template: {
      image: 'build',
      args: argv,
      env,
      workdir: workdir === '' ? '/' : workdir,
      labels: {},
      readOnly: false,
      stopGraceMs: 0,
      health: { kind: 'none' },
      startTimeoutMs: 0,
      drainMs: 0,
      ...(isHosts ? { userns: 'host' } : {}),
    },
    limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
    hostname: 'build',
    files,
    mounts: isHosts ? mounts.map(unmapped) : mounts,
    labels: { 'covey.build': id },
    ...(isHosts ? { hostNetwork: true } : {}),
  };
}
