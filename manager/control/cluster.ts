/** The cluster as a whole: who leads, how etcd is, how long certificates last, and the join token. */
import { X509Certificate } from 'node:crypto';
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import type { Cluster, Manager } from '../../common/model/cluster.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import { formatToken } from '../../common/tls/token.ts';
import { put, type Stored, type View } from '../store/store.ts';
import { type Context, commitUnit } from './context.ts';

/** etcd as a manager sees it. */
export interface EtcdReport {
  readonly healthy: boolean;
  /** Why not; empty = well. */
  readonly message: string;
  readonly sizeBytes: number;
  /** 0 = unknown. */
  readonly quotaBytes: number;
  readonly version: string;
  readonly embedded: boolean;
}

/** Asks etcd how it is; main.ts builds one. It never rejects but for `signal`: what is wrong is in the report. */
export interface StoreHealth {
  report(signal: AbortSignal): Promise<EtcdReport>;
}

export interface CertificateReport {
  readonly name: string;
  readonly role: string;
  readonly expiresAt: Instant;
}

/** Whose certificates this manager knows of: its own, and while it leads those of the nodes in session. */
export interface CertificateRegister {
  certificates(): readonly CertificateReport[];
}

export interface ClusterReport {
  readonly cluster: Cluster;
  /** Epoch and address of whoever leads; undefined = nobody. */
  readonly leader: { readonly managerId: string; readonly address: string; readonly reign: number } | undefined;
  readonly managers: readonly Manager[];
  readonly etcd: EtcdReport;
  /** SHA-256 of the CA certificate, hexadecimal. */
  readonly caDigest: string;
  readonly caExpiresAt: Instant;
  readonly certificates: readonly CertificateReport[];
  readonly storeRevision: number;
}

/** The state of the whole. @throws ClusterError `unavailable` before the cluster has been set up */
export async function clusterReport(
  view: View,
  sources: { readonly health: StoreHealth; readonly certificates: CertificateRegister },
  signal: AbortSignal,
): Promise<ClusterReport> {
  const { value: cluster } = theCluster(view);
  const ca = new X509Certificate(cluster.ca.certificate);
  const leader = view.get('leader', 'default');
  return {
    cluster,
    // The leader's key is written once a reign, so its mod_revision is its create_revision.
    leader: leader && { managerId: leader.value.managerId, address: leader.value.address, reign: leader.rev },
    managers: [...view.all('manager')].map(({ value }) => value).sort((a, b) => (a.address < b.address ? -1 : 1)),
    etcd: await sources.health.report(signal),
    caDigest: ca.fingerprint256.replaceAll(':', '').toLowerCase(),
    caExpiresAt: Date.parse(ca.validTo),
    certificates: sources.certificates.certificates(),
    storeRevision: view.revision,
  };
}

/** The workers' join token; with `rotate` a new one, and the old is invalid at once. */
export async function joinToken(
  context: Context,
  wish: { readonly rotate: boolean },
  signal: AbortSignal,
): Promise<string> {
  if (wish.rotate) {
    const joinSecret = newId<string>();
    await commitUnit(
      context,
      () => {
        const { value, rev } = theCluster(context.store.view);
        return [put('cluster', 'default', { ...value, joinSecret }, rev)];
      },
      signal,
    );
  }
  const { ca, joinSecret } = theCluster(context.store.view).value;
  return formatToken(ca.certificate, joinSecret);
}

/** True when the leading manager's host is also this node's. */
export function leadsHere(view: View, nodeId: NodeId): boolean {
  const address = view.get('node-status', nodeId)?.value.description.address;
  const leader = view.get('leader', 'default')?.value.address;
  return address !== undefined && leader !== undefined && leader.slice(0, leader.lastIndexOf(':')) === address;
}

function theCluster(view: View): Stored<Cluster> {
  const cluster = view.get('cluster', 'default');
  if (cluster !== undefined) return cluster;
  throw new ClusterError('unavailable', 'this manager has no cluster yet', { hint: 'run `covey cluster init`' });
}
