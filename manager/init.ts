/** `covey-manager init`: makes the cluster's record and CA in etcd, and the first context file. Done once a cluster. */
import { existsSync } from 'node:fs';
import { systemClock } from '../common/clock.ts';
import { ClusterError } from '../common/errors.ts';
import { newId } from '../common/ids.ts';
import { type Log, makeLog } from '../common/log.ts';
import type { Cluster } from '../common/model/cluster.ts';
import { createCa, issue } from '../common/tls/certificate.ts';
import { writeIdentity } from '../common/tls/identity.ts';
import { formatToken } from '../common/tls/token.ts';
import { parseDuration } from '../common/units.ts';
import { advertised } from './advertise.ts';
import { openStore } from './open-store.ts';
import type { InitConfig } from './settings.ts';
import { put, type Store } from './store/store.ts';

const INIT_MS = 120_000;
const HOUR_MS = 3_600_000;
/** The admin's certificate: a person renews it by running init's sibling, not a program. */
const ADMIN_LIFETIME_MS = 10 * 365 * 24 * HOUR_MS;
const FAILOVER_MIN_MS = 1_000;

/** Makes the cluster and says what to do next. @throws ClusterError `exists` when etcd holds one already */
export async function initCluster(config: InitConfig): Promise<void> {
  const address = advertised(config);
  if (existsSync(config.context)) {
    throw new ClusterError('exists', `there is a context file at ${config.context} already`, {
      field: 'context',
      hint: 'keep it elsewhere, or choose another place with --context',
    });
  }
  const log = makeLog({ program: 'covey-manager', level: 'warn' });
  const record = await newCluster(config);
  const signal = AbortSignal.timeout(INIT_MS);
  const opened = await openStore({ config, clock: systemClock, log: log as Log }, signal);
  try {
    await commitOnce(opened.store, record, config, signal);
    const validity = { now: record.createdAt, lifetimeMs: ADMIN_LIFETIME_MS };
    const admin = await issue(record.ca, { role: 'client', id: 'admin', clusterId: record.id }, validity);
    const managers = [address];
    await writeIdentity(config.context, {
      ...admin,
      ca: record.ca.certificate,
      clusterId: record.id,
      id: 'admin',
      managers,
    });
  } finally {
    await opened.close();
  }
  const token = formatToken(record.ca.certificate, record.joinSecret);
  process.stdout.write(`Cluster ${record.id} is made; its context file is ${config.context}.

To add a host to it, run there as root once the manager runs:

    covey-agent join --token ${token} ${address}
`);
}

async function newCluster(config: InitConfig): Promise<Cluster> {
  const id = newId<string>();
  const createdAt = systemClock.now();
  return {
    id,
    createdAt,
    incarnation: 1,
    ca: await createCa(id, createdAt),
    joinSecret: newId<string>(),
    certificateLifetimeMs: atLeast(config['cert-expiry'], 'cert-expiry', HOUR_MS),
    failoverAfterMs: atLeast(config['failover-after'], 'failover-after', FAILOVER_MIN_MS),
    taskHistory: config['task-history-limit'],
    ...pool(config),
    revoked: {},
  };
}

function atLeast(text: string, field: string, min: number): number {
  const ms = parseDuration(text, field);
  if (ms >= min) return ms;
  throw new ClusterError('invalid', `--${field} ${text} is too short`, { field, hint: `use at least ${min / 1000}s` });
}

function pool(config: InitConfig): { addressPool: string; blockBits: number } {
  const addressPool = config['default-addr-pool'];
  const blockBits = config['default-addr-pool-mask-length'];
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(addressPool);
  const numbers = match?.slice(1).map(Number) ?? [];
  const bits = numbers[4] ?? 33;
  if (numbers.length !== 5 || numbers.slice(0, 4).some((byte) => byte > 255) || bits < 8 || bits > 28) {
    throw new ClusterError('invalid', `"${addressPool}" is no IPv4 pool`, {
      field: 'default-addr-pool',
      hint: 'write it like 10.64.0.0/12, from /8 to /28',
    });
  }
  if (blockBits < bits) {
    throw new ClusterError('invalid', `a block of /${blockBits} does not fit into the pool ${addressPool}`, {
      field: 'default-addr-pool-mask-length',
    });
  }
  return { addressPool, blockBits };
}

async function commitOnce(store: Store, record: Cluster, config: InitConfig, signal: AbortSignal): Promise<void> {
  const [result] = await store.commit([[put('cluster', 'default', record, 0)]], signal);
  if (result?.kind === 'done') return;
  const where = config.etcd.length === 0 ? config['state-dir'] : config.etcd.join(', ');
  throw new ClusterError('exists', `there is a cluster in ${where} already`, {
    hint: 'start it with `covey-manager run`, or remove that state first',
  });
}
