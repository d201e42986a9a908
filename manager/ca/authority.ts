/**
 * The cluster's certificate authority. What comes in is a token's secret or a caller that is already known; what goes
 * out is a certificate and, for a new node, its record. The CA's key comes from the store and never leaves this room.
 */

import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import type { Cluster } from '../../common/model/cluster.ts';
import type { NodeId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import { sign } from '../../common/tls/certificate.ts';
import { sameSecret } from '../../common/tls/token.ts';
import type { Ca } from '../../proto/methods.ts';
import type { Handlers, Peer, Role } from '../../proto/rpc.ts';
import { put, type Store } from '../store/store.ts';

/** Wrong secrets a minute before the door answers `exhausted` to everybody: guessing must not be quick. */
const WRONG_SECRETS_PER_MINUTE = 60;

/** Handlers of the Ca service over the store. `issue` is for anyone, `renew` for workers. */
export class Authority {
  readonly #store: Store;
  readonly #clock: Clock;
  #wrong: number[] = [];

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  readonly issue: Handlers<typeof Ca>['issue'] = async (request, call) => {
    const cluster = this.#cluster();
    this.#checkSecret(request.secret, cluster);
    const id = newId<NodeId>();
    const certificate = await this.#sign(cluster, request.csr, 'worker', id);
    const node: Node = { id, availability: 'active', role: 'worker', labels: {}, createdAt: this.#clock.now() };
    const [result] = await this.#store.commit([[put('node', id, node, 0)]], call.signal);
    if (result?.kind !== 'done') throw new ClusterError('internal', `node ${id} could not be recorded`);
    await this.#store.reached(result.revision, call.signal);
    return this.#reply(cluster, id, certificate);
  };

  readonly renew: Handlers<typeof Ca>['renew'] = async (request, call) => {
    const cluster = this.#cluster();
    const peer = call.peer as Peer;
    if (this.#store.view.get('node', peer.id) === undefined) {
      throw new ClusterError('denied', `node ${peer.id} has been removed from the cluster`, {
        hint: 'run `covey-agent leave --force` there and join again with a token',
      });
    }
    return this.#reply(cluster, peer.id, await this.#sign(cluster, request.csr, peer.role, peer.id));
  };

  #sign(cluster: Cluster, csr: string, role: Role, id: string): Promise<string> {
    const validity = { now: this.#clock.now(), lifetimeMs: cluster.certificateLifetimeMs };
    return sign(cluster.ca, csr, { role, id, clusterId: cluster.id }, validity);
  }

  #checkSecret(secret: string, cluster: Cluster): void {
    const now = this.#clock.now();
    this.#wrong = this.#wrong.filter((at) => at > now - 60_000);
    if (this.#wrong.length >= WRONG_SECRETS_PER_MINUTE) {
      throw new ClusterError('exhausted', 'too many joins with a wrong token', { hint: 'wait a minute' });
    }
    if (sameSecret(secret, cluster.joinSecret)) return;
    this.#wrong.push(now);
    throw new ClusterError('denied', 'the join token is not valid for this cluster, or has been rotated', {
      field: 'token',
      hint: 'get the present one with `covey cluster token`',
    });
  }

  #cluster(): Cluster {
    const stored = this.#store.view.get('cluster', 'default');
    if (stored === undefined) throw new ClusterError('unavailable', 'this manager has no cluster yet');
    return stored.value;
  }

  #reply(cluster: Cluster, nodeId: string, certificate: string) {
    const managers = [...this.#store.view.all('manager')].map((stored) => stored.value.address);
    return { nodeId, certificate, ca: cluster.ca.certificate, clusterId: cluster.id, managers };
  }
}
