/** Commands in containers of the native core: captured ones for health checks, streaming ones for users. */
import type { Addon } from '../../native/index.ts';
import type { ExecSession, OpenExecRequest } from './exec.ts';
import { NativeExecSession } from './exec-session.ts';
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
    const command = JSON.stringify(execConfig(config, request.args, request.env));
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

/** Starts a user's command. @throws ClusterError as `Runtime.openExec` */
export async function startExec(
  addon: Addon,
  place: ExecPlace,
  request: OpenExecRequest,
  signal: AbortSignal,
): Promise<ExecSession> {
  const { id, pid, startTime, cgroup, config, shimPath } = place;
  try {
    const { user, terminal } = request;
    const resolved = user === undefined ? undefined : await addon.resolveUser([`/proc/${pid}/root`], user);
    const stream = await addon.containerExecStream(
      pid,
      startTime,
      JSON.stringify(userConfig(config, request, resolved)),
      {
        cgroup,
        shimPath,
        terminal: terminal !== undefined,
        rows: terminal?.rows ?? 0,
        columns: terminal?.columns ?? 0,
        stdin: request.stdin,
        detached: request.detached,
        privileged: request.privileged,
      },
    );
    const session = new NativeExecSession(stream, addon, `command in container ${id}`);
    if (signal.aborted) session.kill();
    signal.throwIfAborted();
    return session;
  } catch (cause) {
    signal.throwIfAborted();
    throw execError(cause, id);
  }
}
