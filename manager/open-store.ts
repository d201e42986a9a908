/** Opens the manager's store as its settings say: on an etcd of its own, or on an outside one. */
import { mkdir, readFile, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { ClusterError, messageOf } from '../common/errors.ts';
import type { Log } from '../common/log.ts';
import type { ManagerConfig } from './settings.ts';
import { EmbeddedEtcd } from './store/embedded.ts';
import { Etcd, type EtcdOptions } from './store/etcd.ts';
import { EtcdStore } from './store/etcd-store.ts';

export interface OpenStore {
  readonly store: EtcdStore;
  readonly etcd: Etcd;
  /** Absent: an outside etcd. */
  readonly embedded: EmbeddedEtcd | undefined;
  /** The store first, then the client, then etcd itself. */
  close(): Promise<void>;
}

export interface StoreParts {
  readonly config: ManagerConfig;
  readonly clock: Clock;
  readonly log: Log;
}

/** @throws ClusterError `invalid` (settings that do not go together, unreadable TLS files), and what the store throws */
export async function openStore(parts: StoreParts, signal: AbortSignal): Promise<OpenStore> {
  const { config, clock, log } = parts;
  const embedded = config.etcd.length === 0 ? await startEmbedded(parts, signal) : undefined;
  const etcd = new Etcd(
    embedded === undefined ? await outside(config, clock) : { endpoints: [embedded.endpoint], clock },
  );
  const closeAll = async (store: EtcdStore | undefined): Promise<void> => {
    await store?.close();
    etcd.close();
    await embedded?.close();
  };
  try {
    const store = await EtcdStore.open({ etcd, prefix: config['etcd-prefix'], clock, log }, signal);
    return { store, etcd, embedded, close: () => closeAll(store) };
  } catch (cause) {
    await closeAll(undefined);
    throw cause;
  }
}

async function startEmbedded({ config, clock, log }: StoreParts, signal: AbortSignal): Promise<EmbeddedEtcd> {
  const data = join(config['state-dir'], 'etcd');
  const directory = join(config['run-dir'], 'etcd');
  await mkdir(data, { recursive: true, mode: 0o700 });
  await mkdir(config['run-dir'], { recursive: true, mode: 0o700 });
  await linkTo(data, directory);
  return EmbeddedEtcd.start({ directory, clock, log, quotaBytes: config['etcd-quota-bytes'] }, signal);
}

/** The socket's path must be short whatever the state directory is called: etcd is reached through a link in the run directory. */
async function linkTo(data: string, link: string): Promise<void> {
  const found = await readlink(link).catch(() => undefined);
  if (found === data) return;
  await rm(link, { force: true });
  await symlink(data, link);
}

async function outside(config: ManagerConfig, clock: Clock): Promise<EtcdOptions> {
  const endpoints = config.etcd;
  const plain = endpoints.find((url) => !url.startsWith('https://'));
  if (plain !== undefined) {
    throw new ClusterError('invalid', `etcd at ${plain} would be reached without TLS`, {
      field: 'etcd',
      hint: 'give https:// URLs, with --etcd-ca, --etcd-cert and --etcd-key',
    });
  }
  const [ca, certificate, key] = await Promise.all([
    pem('etcd-ca', config['etcd-ca']),
    pem('etcd-cert', config['etcd-cert']),
    pem('etcd-key', config['etcd-key']),
  ]);
  return { endpoints, tls: { ca, certificate, key }, clock };
}

async function pem(field: string, path: string): Promise<Buffer> {
  if (path === '') throw new ClusterError('invalid', `--${field} is missing, which an outside etcd needs`, { field });
  try {
    return await readFile(path);
  } catch (cause) {
    throw new ClusterError('invalid', `cannot read ${path}: ${messageOf(cause)}`, { field, cause });
  }
}
