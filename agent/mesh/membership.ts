/**
 * This node's part in the swarm of one blob, as the managers know it: held by a call to one of them, first the leader. Out
 * come the blob's pieces and who else has it or takes it. When every manager is away, those who are known stay known.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { type PromiseWithResolvers, withResolvers } from '../../common/iterate.ts';
import type { Digest } from '../../common/model/ids.ts';
import { checkedList, type PieceList, type PieceSet } from '../../common/oci/cut.ts';
import { backoff } from '../../common/retry.ts';
import type { covey } from '../../proto/messages.ts';
import type { Images } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';
import type { Member, OriginDoor } from './download.ts';

/** The part of a manager that knows swarms and gives pieces. */
export type SwarmServer = Pick<Client<typeof Images>, 'joinSwarm' | 'takePiece'>;

const RETRY = { firstMs: 500, maxMs: 5_000 } as const;

export interface MembershipTools {
  readonly blob: { readonly digest: Digest; readonly size?: number };
  /** Managers, best first; asked anew for each call. */
  readonly servers: () => readonly SwarmServer[];
  readonly clock: Clock;
  readonly onNews: () => void;
}

export class Membership implements OriginDoor {
  readonly #tools: MembershipTools;
  readonly #members = new Map<string, Member>();
  readonly #first: PromiseWithResolvers<PieceList | undefined> = withResolvers();
  #server: SwarmServer | undefined;

  constructor(tools: MembershipTools) {
    this.#tools = tools;
    // Whoever waits for it is told; nobody may.
    this.#first.promise.catch(() => undefined);
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  /**
   * The pieces by a manager's word; undefined when no manager has the blob but other nodes do.
   * @throws ClusterError `unavailable` | `not_found` when no manager can tell
   */
  get list(): Promise<PieceList | undefined> {
    return this.#first.promise;
  }

  /** Takes part until `signal` is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { servers, clock } = this.#tools;
    for (let round = 1; !signal.aborted; round += 1) {
      const failures: ClusterError[] = [];
      for (const server of servers()) {
        const failure = await this.#join(server, signal);
        if (signal.aborted) return;
        failures.push(failure);
      }
      this.#server = undefined;
      this.#first.reject(verdict(this.#tools.blob.digest, failures));
      await clock.sleep(backoff(round, RETRY.firstMs, RETRY.maxMs), signal).catch(() => undefined);
    }
  }

  async take(
    lacking: PieceSet,
    isUrgent: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly index: number; readonly bytes: Uint8Array } | undefined> {
    const { digest } = this.#tools.blob;
    const server = this.#server ?? this.#tools.servers()[0];
    if (server === undefined) throw verdict(digest, []);
    const call = server.takePiece({ digest, lacking: lacking.bits, urgent: isUrgent }, { signal });
    for await (const { index, bytes } of call) return { index, bytes };
    return undefined;
  }

  async #join(server: SwarmServer, signal: AbortSignal): Promise<ClusterError> {
    const { digest } = this.#tools.blob;
    try {
      for await (const news of server.joinSwarm({ digest }, { signal })) {
        this.#server = server;
        this.#take(news);
      }
      return new ClusterError('unavailable', `a manager ended the swarm of blob ${digest}`);
    } catch (cause) {
      return toClusterError(cause);
    }
  }

  #take({ pieces, peers, gone }: covey.v1.SwarmNews): void {
    for (const id of gone ?? []) this.#members.delete(id);
    for (const { nodeId, address, whole } of peers ?? [])
      this.#members.set(nodeId, { id: nodeId, address, isWhole: whole });
    const { size = pieces?.size ?? 0 } = this.#tools.blob;
    this.#first.resolve(pieces ? checkedList(pieces, size) : undefined);
    this.#tools.onNews();
  }
}

function verdict(digest: Digest, failures: readonly ClusterError[]): ClusterError {
  const last = failures.at(-1);
  if (last === undefined) {
    return new ClusterError('unavailable', `blob ${digest}: no manager is known`, { hint: 'it is tried again' });
  }
  if (failures.every(({ code }) => code === 'not_found')) return last;
  return new ClusterError('unavailable', `blob ${digest}: ${last.message}`, { hint: 'it is tried again', cause: last });
}
