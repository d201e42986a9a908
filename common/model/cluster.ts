/** The cluster itself, its leader and its managers. */
import type { Digest, Instant, ManagerId, NodeId } from './ids.ts';

/** Exactly one, key `cluster/default`. Written at init, then by users through Control. */
export interface Cluster {
  readonly id: string;
  readonly createdAt: Instant;
  /** Raised by every restore or recovery. */
  readonly incarnation: number;
  readonly ca: {
    /** PEM. */
    readonly certificate: string;
    /** PEM, PKCS#8. Known to managers and etcd only. */
    readonly key: string;
  };
  /** The secret part of the join token. Known to managers and etcd only; rotated by replacing it. */
  readonly joinSecret: string;
  readonly certificateLifetimeMs: number;
  /** Silence after which tasks move; default 15 s. */
  readonly failoverAfterMs: number;
  /** Finished tasks kept per slot; default 5, negative = all. */
  readonly taskHistory: number;
  /** Pool of the nodes' container blocks, CIDR, and the size of a block in bits. */
  readonly addressPool: string;
  readonly blockBits: number;
  /** Removed nodes whose certificates are refused until the instant given. */
  readonly revoked: Readonly<Record<NodeId, Instant>>;
}

/** A manager that is up; its key is bound to a lease. Written by that manager. */
export interface Manager {
  readonly id: ManagerId;
  /** HOST:PORT for agents, clients and other managers. */
  readonly address: string;
  readonly version: string;
  readonly startedAt: Instant;
}

/** Who leads; bound to a lease. The epoch is (cluster.incarnation, this key's create_revision). */
export interface Leader {
  readonly managerId: ManagerId;
  readonly address: string;
  /** When it took over: every node gets one ordinary silence window from here. */
  readonly since: Instant;
}

/** An image known to the cluster; its blobs lie in the managers' stores. Key: the reference `NAME:TAG`. */
export interface Image {
  readonly reference: string;
  /** Of the manifest. */
  readonly digest: Digest;
  /** Bytes of all blobs, compressed. */
  readonly size: number;
  /** Manifest, config and layers: what a manager must hold to serve this image. */
  readonly blobs: readonly Digest[];
  readonly loadedAt: Instant;
  /** Ports and health rule of the image config that the manager and agents need before a pull. */
  readonly os: string;
  readonly arch: string;
  /** Of the index that a registry has it in, for several platforms: what other tools call the image. */
  readonly indexDigest?: Digest;
  /**
   * Pulled from, or pushed to, the registry that its name leads to. Absent: loaded, built or tagged here; nobody looks for it
   * there, where somebody else's image may have the name.
   */
  readonly isInRegistry?: true;
}

/** What a registry is entered with. Key: the registry. Written by Control. */
export interface RegistryLogin {
  /** `HOST[:PORT]` as in names of images; `docker.io` for Docker Hub. */
  readonly registry: string;
  readonly username: string;
  /** The password, encrypted; only `manager/images/logins.ts` can read it. */
  readonly sealed: string;
  readonly createdAt: Instant;
}

export const DEFAULT_FAILOVER_AFTER_MS = 15_000;
export const DEFAULT_TASK_HISTORY = 5;
/** A node that has been silent for so long is lost: its tasks are orphaned. */
export const LOST_AFTER_MS = 24 * 3_600_000;
