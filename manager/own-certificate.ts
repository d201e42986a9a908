/**
 * This manager's own certificate. Managers hold the CA's key through the store, so each signs its own, in memory only, and
 * replaces it long before its end.
 */
import type { Clock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import type { Log } from '../common/log.ts';
import type { Cluster } from '../common/model/cluster.ts';
import type { Instant, ManagerId } from '../common/model/ids.ts';
import { issue } from '../common/tls/certificate.ts';
import { expiryOf, renewalAt } from '../common/tls/identity.ts';
import type { TlsMaterial } from '../proto/rpc.ts';
import type { View } from './store/store.ts';

const RETRY_MS = 60_000;

export class OwnCertificate {
  readonly #id: ManagerId;
  readonly #view: () => View;
  readonly #clock: Clock;
  #material: TlsMaterial;

  private constructor(id: ManagerId, parts: { view: () => View; clock: Clock }, material: TlsMaterial) {
    this.#id = id;
    this.#view = parts.view;
    this.#clock = parts.clock;
    this.#material = material;
  }

  /** @throws ClusterError `not_found` when the store holds no cluster */
  static async make(id: ManagerId, parts: { view: () => View; clock: Clock }): Promise<OwnCertificate> {
    return new OwnCertificate(id, parts, await signed(id, theCluster(parts.view()), parts.clock.now()));
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  get expiresAt(): Instant {
    return expiryOf(this.#material);
  }

  /** Renews it until `signal` is aborted; `onRenewed` is told of each new one. */
  async keep(onRenewed: (material: TlsMaterial) => void, log: Log, signal: AbortSignal): Promise<void> {
    for (let pauseMs = 0; ; ) {
      await this.#clock.sleep(Math.max(pauseMs, renewalAt(this.#material, 0) - this.#clock.now()), signal);
      try {
        this.#material = await signed(this.#id, theCluster(this.#view()), this.#clock.now());
        onRenewed(this.#material);
        pauseMs = 0;
        log.info({ expiresAt: this.expiresAt }, 'manager certificate renewed');
      } catch (cause) {
        pauseMs = RETRY_MS;
        log.warn({ cause }, 'manager certificate could not be renewed');
      }
    }
  }
}

async function signed(id: ManagerId, cluster: Cluster, now: Instant): Promise<TlsMaterial> {
  const validity = { now, lifetimeMs: cluster.certificateLifetimeMs };
  const own = await issue(cluster.ca, { role: 'manager', id, clusterId: cluster.id }, validity);
  return { ...own, ca: cluster.ca.certificate };
}

function theCluster(view: View): Cluster {
  const cluster = view.get('cluster', 'default');
  if (cluster !== undefined) return cluster.value;
  throw new ClusterError('not_found', 'there is no cluster in this etcd yet', {
    hint: 'make one: covey cluster init',
  });
}
