/**
 * The leader's way between a user's call and the node that serves it. In: a user's call, and the call with which the node
 * answers. Out: each one's messages in the other, encoded as they are. It keeps nothing: who reads slowly holds up who
 * writes, all the way. It never logs what passes.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import { aborted, type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { fromErrorInfo } from '../../common/rpc.ts';
import type { covey } from '../../proto/messages.ts';
import type { Send } from '../logs/broker.ts';
import type { RelayTarget } from './target.ts';

type RelayUp = covey.v1.RelayUp.$Properties;
type RelayDown = covey.v1.RelayDown.$Properties;

/** A node that has not called back after so long does not serve the call any more. */
export const ANSWER_MS = 10_000;
/** Users' calls at once; each holds two streams and a few messages. */
const CALLS_MAX = 1_024;

/** One user's call. */
export interface RelayCall {
  readonly target: RelayTarget;
  /** As the table of service Engine names it. */
  readonly method: string;
  /** Encoded; ends when the user has no more to say. */
  readonly requests: AsyncIterator<Uint8Array>;
}

interface Errand extends RelayCall {
  readonly answered: PromiseWithResolvers<Answer>;
  /** Aborted when the user's call has ended. */
  readonly over: AbortController;
}

/** The node's call. */
interface Answer {
  readonly outputs: AsyncIterator<RelayUp>;
  /** Aborted when the node has gone. */
  readonly gone: AbortSignal;
}

export class RelayBroker {
  readonly #clock: Clock;
  readonly #send: Send;
  readonly #errands = new Map<string, Errand>();
  #calls = 0;

  constructor(clock: Clock, send: Send) {
    this.#clock = clock;
    this.#send = send;
  }

  /**
   * What the node answers, encoded, to its end.
   * @throws ClusterError what the node throws, `unavailable` when it does not answer or breaks off, and `exhausted`
   */
  async *call(call: RelayCall, signal: AbortSignal): AsyncIterable<Uint8Array> {
    if (this.#calls >= CALLS_MAX) {
      throw new ClusterError('exhausted', `${CALLS_MAX} calls to this cluster’s nodes are under way already`, {
        hint: 'end some of them',
      });
    }
    this.#calls += 1;
    const { target, method } = call;
    const errand: Errand = { ...call, answered: withResolvers(), over: new AbortController() };
    const id = newId();
    this.#errands.set(id, errand);
    const late = this.#clock.after(ANSWER_MS, () => errand.answered.reject(silent(target)));
    let isWhole = false;
    try {
      if (!this.#send(target.nodeId, { relay: { id, method } })) throw down(target);
      const answer = await untilAborted(errand.answered.promise, signal);
      late();
      yield* outputsOf(answer, target, signal);
      isWhole = true;
    } finally {
      late();
      // The node's own end of the call may stand behind data that nobody reads any more.
      if (!isWhole) this.#send(target.nodeId, { relayEnd: { id } });
      this.#calls -= 1;
      this.#errands.delete(id);
      errand.over.abort();
    }
  }

  /**
   * A node's call for one of a user's: takes what the node says, gives what the user says, ends when the user has gone.
   * @throws ClusterError `not_found` for a call that nobody waits for
   */
  async *answer(nodeId: NodeId, messages: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncIterable<RelayDown> {
    const outputs = messages[Symbol.asyncIterator]();
    const first = await untilAborted(outputs.next(), signal);
    const id = first.done === true ? '' : (first.value.requestId ?? '');
    const errand = this.#errands.get(id);
    if (errand === undefined || errand.target.nodeId !== nodeId) {
      throw new ClusterError('not_found', `nobody waits for call "${id}"`);
    }
    this.#errands.delete(id);
    errand.answered.resolve({ outputs, gone: signal });
    const ending = AbortSignal.any([signal, errand.over.signal]);
    try {
      for (;;) {
        const next = await untilAborted(errand.requests.next(), ending);
        if (next.done === true) break;
        yield { message: next.value };
      }
      yield { end: {} };
    } catch (cause) {
      if (!ending.aborted) throw cause;
    }
    // A user who says no more still listens.
    await aborted(ending);
  }
}

async function* outputsOf(answer: Answer, target: RelayTarget, signal: AbortSignal): AsyncIterable<Uint8Array> {
  const ending = AbortSignal.any([signal, answer.gone]);
  for (;;) {
    const next = await nextOf(answer, ending, target, signal);
    if (next.done === true) throw brokenOff(target);
    const { message, end, error } = next.value;
    if (error) throw fromErrorInfo(error);
    if (end) return;
    if (message) yield message;
  }
}

async function nextOf(
  answer: Answer,
  ending: AbortSignal,
  target: RelayTarget,
  signal: AbortSignal,
): Promise<IteratorResult<RelayUp>> {
  try {
    return await untilAborted(answer.outputs.next(), ending);
  } catch (cause) {
    signal.throwIfAborted();
    throw brokenOff(target, cause);
  }
}

function down({ what, nodeName }: RelayTarget): ClusterError {
  return new ClusterError('unavailable', `${what} cannot be reached: node ${nodeName} is down`, {
    hint: 'see `covey node ls`',
  });
}

function silent({ what, nodeName }: RelayTarget): ClusterError {
  return new ClusterError('unavailable', `${what} cannot be reached: node ${nodeName} does not answer`, {
    hint: 'nothing was done; see `covey node ls`',
  });
}

function brokenOff({ nodeName, lost }: RelayTarget, cause?: unknown): ClusterError {
  return new ClusterError('unavailable', `node ${nodeName} broke off: ${lost} is not known`, {
    hint: 'the node ends what it does for a user when its agent or the leading manager goes; see `covey node ls`',
    cause,
  });
}
