/**
 * Runs users' commands: what a command says goes out, what the user says goes in. When the call ends, for whatever reason,
 * the command is killed with all it has started. Nothing of either is logged.
 */
import { ClusterError } from '../../common/errors.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import type { Engine } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import { merge } from '../logs/merge.ts';
import type { ExecSession } from '../runtime/exec.ts';
import { exitOf } from '../runtime/exec-exit.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { INPUT_WINDOW_BYTES, InputWindow } from './input-window.ts';
import { openRequest, sizeOf } from './request.ts';

type Input = covey.v1.ExecInput;
type Output = covey.v1.ExecOutput.$Properties;
type Start = covey.v1.ExecStart.$Properties;

export interface ExecTools {
  readonly runtime: Pick<Runtime, 'openExec'>;
  /** The newest container of a task; undefined when it has none. */
  readonly containerOf: (taskId: TaskId) => string | undefined;
  /** Of no task. @throws ClusterError `not_found`, `conflict` when it does not run */
  readonly standalone: (id: string) => string;
}

/** Engine's exec. */
export function execHandler(tools: ExecTools): Handlers<typeof Engine>['exec'] {
  return async function* exec(inputs, { signal }) {
    const reader = inputs[Symbol.asyncIterator]();
    const first = await reader.next();
    const start: Start = (first.done === true ? undefined : first.value.start) ?? {};
    let session: ExecSession;
    try {
      session = await opened(tools, start, signal);
    } catch (cause) {
      const exit = exitOf(cause);
      if (exit === undefined) throw cause;
      yield { exit };
      return;
    }
    yield* served(session, start, { reader, signal });
  };
}

async function opened({ runtime, ...tools }: ExecTools, start: Start, signal: AbortSignal): Promise<ExecSession> {
  const container = start.container ? tools.standalone(start.container) : tools.containerOf(start.task as TaskId);
  if (container === undefined) throw new ClusterError('conflict', `task ${start.task} has no container on this node`);
  return await runtime.openExec(container, openRequest(start), signal);
}

interface User {
  readonly reader: AsyncIterator<Input>;
  readonly signal: AbortSignal;
}

/** What the session says, while what the user says goes in; ends with `exit`. The call's end kills it. */
export async function* served(session: ExecSession, start: Start, { reader, signal }: User): AsyncIterable<Output> {
  const kill = (): void => session.kill();
  if (signal.aborted) kill();
  else signal.addEventListener('abort', kill, { once: true });
  const window = start.tty && start.stdin ? new InputWindow() : undefined;
  // Fails when the user has gone; the command's end is then the answer.
  feed(session, reader, window).catch(kill);
  try {
    yield { started: { inputWindow: window === undefined ? 0 : INPUT_WINDOW_BYTES } };
    if (window === undefined) yield* said(session);
    else yield* merge([saidBeside(session, window), takingsOf(window)]);
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}

async function* said(session: ExecSession): AsyncIterable<Output> {
  for await (const { stream, bytes } of session.output) {
    yield stream === 'stdout' ? { stdout: bytes } : { stderr: bytes };
  }
  yield { exit: { code: session.isDetached ? 0 : await session.ended } };
}

async function* saidBeside(session: ExecSession, window: InputWindow): AsyncIterable<Output> {
  try {
    yield* said(session);
  } finally {
    window.end();
  }
}

async function* takingsOf(window: InputWindow): AsyncIterable<Output> {
  for await (const taken of window.takings()) yield { taken };
}

async function feed(
  session: ExecSession,
  reader: AsyncIterator<Input>,
  window: InputWindow | undefined,
): Promise<void> {
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
    const { stdin, stdinEnd, resize, detach } = next.value;
    if (stdin) await (window === undefined ? session.write(stdin) : window.write(session, stdin));
    if (stdinEnd) session.closeInput();
    const size = sizeOf(resize);
    if (size) session.resize(size);
    if (detach) session.detach();
  }
}
