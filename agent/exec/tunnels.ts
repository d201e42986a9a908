/**
 * Runs users' commands for managers: one call back per command, with what it says; what the user says comes back on it.
 * When that call ends, for whatever reason, the command is killed with all it has started. Nothing of either is logged.
 */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { withResolvers } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { toErrorInfo } from '../../common/rpc.ts';
import type { covey } from '../../proto/messages.ts';
import { Dispatcher } from '../../proto/methods.ts';
import type { RpcChannel } from '../../proto/rpc-channel.ts';
import { merge } from '../logs/merge.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { exitOf } from '../runtime/exec-exit.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { INPUT_WINDOW_BYTES, InputWindow } from './input-window.ts';
import { openRequest, sizeOf } from './request.ts';

type Output = covey.v1.TunnelOutput.$Properties;
type Start = covey.v1.ExecStart.$Properties;

/** Commands at once; each holds a process, some descriptors and a few buffers. */
const TUNNELS_MAX = 256;

export interface TunnelTools {
  readonly runtime: Pick<Runtime, 'openExec'>;
  /** The newest container of a task; undefined when it has none. */
  readonly containerOf: (taskId: TaskId) => string | undefined;
  readonly log: Log;
}

interface AnswerParts {
  readonly opened: { resolve(session: ExecSession): void; reject(cause: unknown): void };
  /** Of a terminal that gets input. */
  readonly window: InputWindow | undefined;
}

export class ExecTunnels {
  readonly #tools: TunnelTools;
  readonly #open = new Set<AbortController>();

  constructor(tools: TunnelTools) {
    this.#tools = tools;
  }

  /** Runs it in the background, over a call of its own on the session's connection. */
  begin(request: covey.v1.ExecRequest.$Properties, channel: RpcChannel): void {
    const stop = new AbortController();
    this.#open.add(stop);
    const { log } = this.#tools;
    const { id: requestId = '', start } = request;
    const ids = { requestId, taskId: start?.task };
    log.debug(ids, 'a command begins');
    this.#serve(requestId, start ?? {}, channel, stop)
      .catch((cause: unknown) => {
        if (!stop.signal.aborted) log.debug({ ...ids, cause }, 'a command was broken off');
      })
      .finally(() => {
        stop.abort();
        this.#open.delete(stop);
      });
  }

  /** The session has ended: nobody could say any more when a user has gone. */
  endAll(): void {
    for (const stop of this.#open) stop.abort();
  }

  async #serve(requestId: string, start: Start, channel: RpcChannel, stop: AbortController): Promise<void> {
    const opened = withResolvers<ExecSession>();
    opened.promise.then(
      (session) => {
        const kill = (): void => session.kill();
        if (stop.signal.aborted) kill();
        else stop.signal.addEventListener('abort', kill, { once: true });
      },
      () => {},
    );
    const window = start.tty && start.stdin ? new InputWindow() : undefined;
    const outputs = this.#answer(requestId, start, { opened, window }, stop.signal);
    const inputs = channel.service(Dispatcher).tunnel(outputs, { signal: stop.signal });
    // One that did not start takes nothing. The manager ends the call when it has heard why.
    const session = opened.promise.catch(() => undefined);
    for await (const input of inputs) await take(await session, input, window);
  }

  async *#answer(
    requestId: string,
    start: Start,
    { opened, window }: AnswerParts,
    signal: AbortSignal,
  ): AsyncIterable<Output> {
    yield { requestId };
    let session: ExecSession;
    try {
      session = await this.#start(start, signal);
    } catch (cause) {
      opened.reject(cause);
      const exit = exitOf(cause);
      yield exit === undefined ? { error: toErrorInfo(toClusterError(cause)) } : { output: { exit } };
      return;
    }
    opened.resolve(session);
    try {
      yield { output: { started: { inputWindow: window === undefined ? 0 : INPUT_WINDOW_BYTES } } };
      if (window === undefined) yield* said(session);
      else yield* merge([saidBeside(session, window), takingsOf(window)]);
    } finally {
      session.kill();
    }
  }

  async #start(start: Start, signal: AbortSignal): Promise<ExecSession> {
    const { runtime, containerOf } = this.#tools;
    if (this.#open.size > TUNNELS_MAX) {
      throw new ClusterError('exhausted', `this node runs ${TUNNELS_MAX} commands already`, {
        hint: 'end some of them',
      });
    }
    const container = containerOf(start.task as TaskId);
    if (container === undefined) throw new ClusterError('conflict', `task ${start.task} has no container on this node`);
    return runtime.openExec(container, openRequest(start), signal);
  }
}

async function* said(session: ExecSession): AsyncIterable<Output> {
  for await (const { stream, bytes } of session.output) {
    yield { output: stream === 'stdout' ? { stdout: bytes } : { stderr: bytes } };
  }
  try {
    yield { output: { exit: { code: session.isDetached ? 0 : await session.ended } } };
  } catch (cause) {
    yield { error: toErrorInfo(toClusterError(cause)) };
  }
}

async function* saidBeside(session: ExecSession, window: InputWindow): AsyncIterable<Output> {
  try {
    yield* said(session);
  } finally {
    window.end();
  }
}

async function* takingsOf(window: InputWindow): AsyncIterable<Output> {
  for await (const taken of window.takings()) yield { output: { taken } };
}

async function take(
  session: ExecSession | undefined,
  input: covey.v1.ExecInput.$Properties,
  window: InputWindow | undefined,
): Promise<void> {
  if (session === undefined) return;
  const { stdin, stdinEnd, resize, detach } = input;
  if (stdin) await (window === undefined ? session.write(stdin) : window.write(session, stdin));
  if (stdinEnd) session.closeInput();
  const size = sizeOf(resize);
  if (size) session.resize(size);
  if (detach) session.detach();
}
