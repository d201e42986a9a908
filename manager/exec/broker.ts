/**
 * The leader's way between a user's command and the node that runs it. In: a user's call, and the call with which the
 * node answers. Out: each one's messages in the other. It keeps nothing: who reads slowly holds up who writes, all the
 * way. It never logs what passes.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import { aborted, type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { fromErrorInfo } from '../../common/rpc.ts';
import type { covey } from '../../proto/messages.ts';
import type { Send } from '../logs/broker.ts';
import type { Store } from '../store/store.ts';
import { down, type ExecTarget, execTarget } from './target.ts';

export type ExecInput = covey.v1.ExecInput.$Properties;
export type ExecOutput = covey.v1.ExecOutput.$Properties;
type TunnelOutput = covey.v1.TunnelOutput.$Properties;

/** A node that has not called back after so long does not run the command any more. */
export const ANSWER_MS = 10_000;
/** Users' calls at once; each holds two streams and a few messages of 64 KiB. */
const CALLS_MAX = 1_024;

/** One user's command. */
interface Errand {
  readonly target: ExecTarget;
  readonly inputs: AsyncIterator<ExecInput>;
  readonly answered: PromiseWithResolvers<Answer>;
  /** Aborted when the user's call has ended. */
  readonly over: AbortController;
}

/** The node's call. */
interface Answer {
  readonly outputs: AsyncIterator<TunnelOutput>;
  /** Aborted when the node has gone. */
  readonly gone: AbortSignal;
}

export class ExecBroker {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #send: Send;
  readonly #errands = new Map<string, Errand>();
  #calls = 0;

  constructor(store: Store, clock: Clock, send: Send) {
    this.#store = store;
    this.#clock = clock;
    this.#send = send;
  }

  /**
   * Runs a command: `ready` first, then as the node says, `exit` last.
   * @throws ClusterError as `execTarget`, `unavailable` when the node does not answer or breaks off, and `exhausted`
   */
  async *run(inputs: AsyncIterable<ExecInput>, signal: AbortSignal): AsyncIterable<ExecOutput> {
    if (this.#calls >= CALLS_MAX) {
      throw new ClusterError('exhausted', `${CALLS_MAX} commands run already in this cluster’s containers`, {
        hint: 'end some of them',
      });
    }
    this.#calls += 1;
    try {
      yield { ready: {} };
      yield* this.#serve(inputs, signal);
    } finally {
      this.#calls -= 1;
    }
  }

  async *#serve(inputs: AsyncIterable<ExecInput>, signal: AbortSignal): AsyncIterable<ExecOutput> {
    const reader = inputs[Symbol.asyncIterator]();
    const first = await untilAborted(reader.next(), signal);
    const start = first.done === true ? undefined : first.value.start;
    if (!start?.command?.length) {
      throw new ClusterError('invalid', 'a command did not begin with what is to be run', { field: 'start' });
    }
    const ref = start.task ?? '';
    const target = execTarget(this.#store.view, ref);
    const errand: Errand = { target, inputs: reader, answered: withResolvers(), over: new AbortController() };
    const id = newId();
    this.#errands.set(id, errand);
    const late = this.#clock.after(ANSWER_MS, () => errand.answered.reject(silent(ref, target)));
    try {
      const request = { id, start: { ...start, task: target.taskId } };
      if (!this.#send(target.nodeId, { exec: request })) throw down(ref, target.nodeName);
      const answer = await untilAborted(errand.answered.promise, signal);
      late();
      yield* outputsOf(answer, target, signal);
    } finally {
      late();
      this.#errands.delete(id);
      errand.over.abort();
    }
  }

  /**
   * A node's call for one command: takes what the command says, gives what the user says, ends when the user has gone.
   * @throws ClusterError `not_found` for a command that nobody waits for
   */
  async *tunnel(nodeId: NodeId, messages: AsyncIterable<TunnelOutput>, signal: AbortSignal): AsyncIterable<ExecInput> {
    const outputs = messages[Symbol.asyncIterator]();
    const first = await untilAborted(outputs.next(), signal);
    const id = first.done === true ? '' : (first.value.requestId ?? '');
    const errand = this.#errands.get(id);
    if (errand === undefined || errand.target.nodeId !== nodeId) {
      throw new ClusterError('not_found', `nobody waits for command "${id}"`);
    }
    this.#errands.delete(id);
    errand.answered.resolve({ outputs, gone: signal });
    const ending = AbortSignal.any([signal, errand.over.signal]);
    try {
      for (;;) {
        const next = await untilAborted(errand.inputs.next(), ending);
        if (next.done === true) break;
        yield next.value;
      }
    } catch (cause) {
      if (!ending.aborted) throw cause;
    }
    // A user who says no more still listens.
    await aborted(ending);
  }
}

async function* outputsOf(answer: Answer, target: ExecTarget, signal: AbortSignal): AsyncIterable<ExecOutput> {
  const ending = AbortSignal.any([signal, answer.gone]);
  for (;;) {
    const next = await nextOf(answer, ending, target, signal);
    if (next.done === true) throw brokenOff(target);
    const { output, error } = next.value;
    if (error) throw fromErrorInfo(error);
    if (!output) continue;
    yield output;
    if (output.exit) return;
  }
}

async function nextOf(
  answer: Answer,
  ending: AbortSignal,
  target: ExecTarget,
  signal: AbortSignal,
): Promise<IteratorResult<TunnelOutput>> {
  try {
    return await untilAborted(answer.outputs.next(), ending);
  } catch (cause) {
    signal.throwIfAborted();
    throw brokenOff(target, cause);
  }
}

function silent(ref: string, { nodeName }: ExecTarget): ClusterError {
  return new ClusterError('unavailable', `task "${ref}" cannot be reached: node ${nodeName} does not answer`, {
    hint: 'the command has not run; see `covey node ls`',
  });
}

function brokenOff({ nodeName }: ExecTarget, cause?: unknown): ClusterError {
  return new ClusterError('unavailable', `node ${nodeName} broke off: how the command ended is not known`, {
    hint: 'the node kills it when its agent or the leading manager goes; see `covey node ls`',
    cause,
  });
}
