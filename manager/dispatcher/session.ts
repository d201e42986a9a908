/**
 * One agent's session, from Welcome to its end: what waits to be sent, and up to where the agent has followed. It knows no
 * gRPC; the dispatcher feeds it and rpc.ts carries its messages.
 */
import { ClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import type { Epoch } from '../../common/model/node.ts';
import type { covey } from '../../proto/messages.ts';
import type { View } from '../store/store.ts';
import { type AssignmentSet, complete, difference, numbered } from './assignments.ts';
import type { Witness } from './release.ts';

export type ManagerMessage = covey.v1.ManagerMessage.$Properties;

/** Messages other than assignments that may wait: acks of reports in flight, log requests. A slower agent starts anew. */
const OUTBOX_MAX = 1_024;

export interface SessionOptions {
  readonly nodeId: NodeId;
  readonly epoch: Epoch;
  readonly view: () => View;
  /** The newest set of this node and its number, which grows whenever any node's set may differ; from 1. */
  readonly newest: () => { readonly set: AssignmentSet; readonly number: number };
  /** Called when it has followed one step further. */
  readonly onProgress: () => void;
  readonly signal: AbortSignal;
}

export class Session implements Witness {
  readonly nodeId: NodeId;
  /** By the agent's word; 0 = it did not say. */
  certificateExpiresAt: Instant = 0;
  readonly #options: SessionOptions;
  readonly #outbox: ManagerMessage[] = [];
  readonly #wake: Queue<'wake'>;
  #has: AssignmentSet | undefined;
  #compared = 0;
  #sent = 0;
  #acked = 0;
  #end: ClusterError | undefined;

  constructor(options: SessionOptions) {
    this.nodeId = options.nodeId;
    this.#options = options;
    this.#wake = new Queue(1, options.signal);
  }

  get compared(): number {
    return this.#compared;
  }

  get sent(): number {
    return this.#sent;
  }

  get acked(): number {
    return this.#acked;
  }

  /** Sends a message that is no assignment. */
  send(message: ManagerMessage): void {
    if (this.#outbox.length >= OUTBOX_MAX) {
      this.end(
        new ClusterError('exhausted', `node "${this.nodeId}" reads too slowly: ${OUTBOX_MAX} messages wait for it`),
      );
      return;
    }
    this.#outbox.push(message);
    this.stir();
  }

  /** There may be something new for this node. */
  stir(): void {
    this.#wake.push('wake');
  }

  /** Number `number` changes nothing for this node. Spares the comparison when it has followed so far. */
  pass(number: number): void {
    if (this.#has !== undefined && this.#compared === number - 1) this.#compared = number;
    else this.stir();
  }

  /** The agent stands at `revision`. */
  ack(revision: number): void {
    if (revision > this.#sent) {
      this.end(
        new ClusterError('invalid', `node "${this.nodeId}" acknowledges revision ${revision}, which it was never sent`),
      );
      return;
    }
    this.#acked = Math.max(this.#acked, revision);
    this.#options.onProgress();
  }

  /** Ends the session; `because` reaches the agent. */
  end(because: ClusterError | undefined): void {
    this.#end ??= because;
    this.#wake.end();
  }

  /** Everything for the agent, as fast as it reads; ends with the session. */
  async *messages(): AsyncIterable<ManagerMessage> {
    this.stir();
    for await (const _ of this.#wake) {
      while (!this.#wake.ended) {
        const message = this.#outbox.shift() ?? this.#assignments();
        if (message === undefined) break;
        yield message;
      }
    }
    if (this.#end !== undefined) throw this.#end;
  }

  /** What the agent does not know yet; compared only when it is about to be sent, so a slow agent gets one big step. */
  #assignments(): ManagerMessage | undefined {
    const { set, number } = this.#options.newest();
    const before = this.#has;
    if (before !== undefined && number === this.#compared) return undefined;
    const step = before === undefined ? complete(this.#options.view(), set) : difference(before, set);
    const from = this.#sent;
    this.#has = set;
    this.#compared = number;
    if (step === undefined) {
      this.#options.onProgress();
      return undefined;
    }
    this.#sent = number;
    return { assignments: numbered(step, this.#options.epoch, before === undefined ? 0 : from, number) };
  }
}
