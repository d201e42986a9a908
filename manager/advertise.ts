/** The address by which others reach this manager. */
import { networkInterfaces } from 'node:os';
import { ClusterError } from '../common/errors.ts';
import type { ManagerConfig } from './settings.ts';

/**
 * `--advertise`, or the one IPv4 address of this host with the port it listens on.
 * @throws ClusterError `invalid` when the host has none or several
 */
export function advertised(config: ManagerConfig): string {
  if (config.advertise !== '') return config.advertise;
  const at = config.listen.lastIndexOf(':');
  const host = config.listen.slice(0, at);
  if (host !== '0.0.0.0' && host !== '[::]') return config.listen;
  const found = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => address.family === 'IPv4' && !address.internal)
    .map((address) => address.address);
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return `${only}${config.listen.slice(at)}`;
  const what = found.length === 0 ? 'no address' : `several addresses (${found.join(', ')})`;
  throw new ClusterError('invalid', `this host has ${what} to be reached by`, {
    field: 'advertise',
    hint: 'choose one with --advertise HOST:PORT',
  });
}
