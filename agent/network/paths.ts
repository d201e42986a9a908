/** The routes and policy rules a host needs, and the difference to those it has. Pure. */
import type { Route, Rule } from '../../native/network.ts';
import { type MarkNumbers, markOf } from './marks.ts';
import type { HostNetwork, Peer } from './network.ts';
import { MAIN_TABLE, RULE_PRIORITY } from './owned.ts';

/** A container's /32, made with its link and kept up by the audit. */
export interface LinkRoute {
  readonly address: string;
  readonly device: string;
}

/** To each peer's block through the peer; back to each ingress host by its own table; the rest of the pool leads nowhere. */
export function routesFor(
  host: HostNetwork,
  uplink: string,
  peers: readonly Peer[],
  numbers: MarkNumbers,
): readonly Route[] {
  const source = host.address;
  return [
    { destination: host.pool, gateway: null, device: null, table: MAIN_TABLE, source: null },
    ...peers.flatMap((peer): Route[] => {
      const number = numbers[peer.nodeId];
      const via = { gateway: peer.address, device: uplink };
      const there: Route = { ...via, destination: peer.block, table: MAIN_TABLE, source };
      if (number === undefined) return [there];
      return [there, { ...via, destination: '0.0.0.0/0', table: markOf(number), source: null }];
    }),
  ];
}

/** The routes to this host's own containers. */
export function routesToLinks(host: HostNetwork, links: readonly LinkRoute[]): readonly Route[] {
  return links.map((link) => ({
    destination: `${link.address}/32`,
    gateway: null,
    device: link.device,
    table: MAIN_TABLE,
    source: host.address,
  }));
}

/** The `from` is essential: only containers' answers may follow the mark, or it would loop (ADR 0007). */
export function rulesFor(host: HostNetwork, peers: readonly Peer[], numbers: MarkNumbers): readonly Rule[] {
  return peers.flatMap((peer) => {
    const number = numbers[peer.nodeId];
    if (number === undefined) return [];
    return [{ priority: RULE_PRIORITY, source: host.pool, mark: markOf(number), table: markOf(number) }];
  });
}

export interface Difference<T> {
  readonly missing: readonly T[];
  readonly surplus: readonly T[];
}

/** Compared as wholes. What is replaced by another gateway is missing and surplus at once. */
export function difference<T>(wanted: readonly T[], found: readonly T[], keyOf: (item: T) => string): Difference<T> {
  const wantedKeys = new Set(wanted.map(keyOf));
  const foundKeys = new Set(found.map(keyOf));
  return {
    missing: wanted.filter((item) => !foundKeys.has(keyOf(item))),
    surplus: found.filter((item) => !wantedKeys.has(keyOf(item))),
  };
}

/** Everything that makes a route that route, as `ip route` would print it. */
export function routeText(route: Route): string {
  const via = route.gateway === null ? '' : ` via ${route.gateway}`;
  const device = route.device === null ? ' unreachable' : ` dev ${route.device}`;
  const source = route.source === null ? '' : ` src ${route.source}`;
  return `${route.destination}${via}${device}${source} table ${route.table}`;
}

export function ruleText(rule: Rule): string {
  return `${rule.priority}: from ${rule.source} fwmark ${rule.mark} lookup ${rule.table}`;
}
