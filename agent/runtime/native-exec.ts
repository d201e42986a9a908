/** Commands in containers of the native core: captured ones for health checks, streaming ones for users. */
import { ClusterError } from '../../common/errors.ts';
import type { Addon } from '../../native/index.ts';
import { configText } from './config-text.ts';
import type { ExecSession, OpenExecRequest } from './exec.ts';
import { NativeExecSession } from './exec-session.ts';
import type { Held } from './held.ts';
import { execConfig, type OciConfig, userConfig } from './oci-config.ts';
import type { ExecRequest, ExecResult } from './runtime.ts';
import { execError, runtimeError } from './runtime-error.ts';

/** A container that runs. */
export interface ExecPlace {
  readonly id: string;
  readonly pid: number;
  readonly startTime: number;
  readonly cgroup: string;
  readonly config: OciConfig;
  readonly shimPath: string;
}

/** Runs a command to its end and keeps its output. @throws ClusterError */
export async function runExec(
  addon: Addon,
  place: ExecPlace,
  request: ExecRequest,
  signal: AbortSignal,
): Promise<ExecResult> {
  const { id, pid, startTime, cgroup, config, shimPath } = place;
  try {
    const command = configText(execConfig(config, request.args, request.env));
    const result = await addon.containerExec(pid, startTime, command, {
      cgroup,
      timeoutMs: request.timeoutMs,
      outputMaxBytes: request.outputMaxBytes,
      shimPath,
    });
    signal.throwIfAborted();
    return { exitCode: result.exitCode, timedOut: result.timedOut, output: result.output.toString('utf8') };
  } catch (cause) {
    signal.throwIfAborted();
    throw runtimeError(cause, `command in container ${id}`);
  }
}

async function startExec(
  addon: Addon,
  place: ExecPlace,
  request: OpenExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const { id, pid, startTime, cgroup, config, shimPath } = place;
  try {
    const { user, terminal } = request;
    const resolved = user === undefined ? undefined : await addon.resolveUser([`/proc/${pid}/root`], user);
    const stream = await addon.containerExecStream(pid, startTime, configText(userConfig(config, request, resolved)), {
      cgroup,
      shimPath,
      terminal: terminal !== undefined,
      rows: terminal?.rows ?? 0,
      columns: terminal?.columns ?? 0,
      stdin: request.stdin,
      detached: request.detached,
      privileged: request.privileged,
    });
    const session = new NativeExecSession(stream, addon, `command in container ${id}`);
    if (signal.aborted) session.kill();
    signal.throwIfAborted();
    return session;
  } catch (cause) {
    signal.throwIfAborted();
    throw execError(cause, id);
  }
}

/** A container in which a user's command is to run. */
export interface ExecIn {
  readonly held: Held;
  /** False once its removal has begun. */
  readonly isHeld: () => boolean;
  readonly place: () => Promise<ExecPlace>;
}

/** Starts a user's command and keeps it with its container. @throws ClusterError as `Runtime.openExec` */
export async function openExecIn(
  addon: Addon,
  { held, isHeld, place }: ExecIn,
  request: OpenExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const { note, identity, execs } = held;
  let session: ExecSession;
  try {
    session = await startExec(addon, await place(), request, signal);
  } catch (cause) {
    // In a container that is being taken apart anything may fail.
    const isGone = !isHeld() || !addon.processAlive(identity.pid, identity.startTime);
    if (signal.aborted || !isGone) throw cause;
    throw new ClusterError('conflict', `container ${note.id} has ended`, { cause });
  }
  // Removed meanwhile: its removal has not waited for this one.
  if (!isHeld()) session.kill();
  const forget = (): boolean => execs.delete(session);
  execs.add(session);
  session.ended.then(forget, forget);
  return session;
}
