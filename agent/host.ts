/** What this host is: its name, its address in the cluster, its size. */
import { availableParallelism, hostname, networkInterfaces, totalmem } from 'node:os';
import { ClusterError } from '../common/errors.ts';
import type { NodeDescription } from '../common/model/node.ts';

/** Go's names, as images use them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
const NANO = 1_000_000_000;

interface Place {
  readonly address: string;
  readonly mac: string;
}

/**
 * The description that managers get, but for what the agent itself does here. Names and sizes are read anew each time: hosts are renamed.
 * @param address  IPv4; empty = the host's first one that is neither loopback nor link-local
 * @throws ClusterError `invalid` when no interface has the address
 */
export function describeHost(address: string, version: string): Omit<NodeDescription, 'meshPort'> {
  const place = findPlace(address);
  return {
    hostname: hostname(),
    address: place.address,
    mac: place.mac,
    os: 'linux',
    arch: ARCHITECTURES[process.arch] ?? process.arch,
    nanoCpus: availableParallelism() * NANO,
    memoryBytes: totalmem(),
    version,
  };
}

function findPlace(address: string): Place {
  const places = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter((each) => each.family === 'IPv4' && !each.internal && !each.address.startsWith('169.254.'));
  const place = address === '' ? places[0] : places.find((each) => each.address === address);
  if (place !== undefined) return { address: place.address, mac: place.mac.toLowerCase() };
  const found = places.map((each) => each.address).join(', ');
  throw new ClusterError(
    'invalid',
    address === '' ? 'this host has no IPv4 address' : `no interface of this host has the address ${address}`,
    { field: 'address', hint: found === '' ? 'configure one' : `it has ${found}` },
  );
}
