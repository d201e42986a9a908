/** Names, addresses and paths of a cluster on one machine, all worked out from its directory. Pure. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

/** A host of the cluster: a network, UTS and mount namespace of its own. */
export interface DevHost {
  readonly name: string;
  readonly kind: 'agent' | 'manager' | 'etcd';
  readonly address: string;
  /** Name beneath /run/netns. */
  readonly netns: string;
  /** The end of its cable at the bridge, on the machine; at most 15 characters. */
  readonly port: string;
  readonly stateDir: string;
  readonly runDir: string;
}

/** What `up` decided once and every later verb goes by; kept as cluster.json in the directory. */
export interface Layout {
  readonly version: string;
  readonly dir: string;
  /** Six hex digits of the directory's digest: part of every name that the kernel sees. */
  readonly tag: string;
  readonly bridge: string;
  /** First three bytes of the /24 that joins the hosts, as `10.213.7`. */
  readonly subnet: string;
  readonly runDir: string;
  /** Name beneath every cgroup hierarchy; hosts have one each inside. */
  readonly cgroup: string;
  readonly context: string;
  readonly hosts: readonly DevHost[];
  readonly etcd: 'embedded' | 'outside';
}

export const PORT = 2377;
/** Of an etcd on a host of its own. */
export const ETCD_PORT = 2379;
const FIRST_AGENT = 11;
const FIRST_MANAGER = 101;
const ETCD_HOST = 201;
/** What a /24 has room for between the numbers above. */
export const HOSTS_MAX = 80;
export const MANAGERS_MAX = 7;

/** The tag of a cluster's directory (absolute path). */
export function tagOf(dir: string): string {
  return createHash('sha256').update(dir).digest('hex').slice(0, 6);
}

export interface Wish {
  readonly dir: string;
  readonly version: string;
  readonly hosts: number;
  readonly managers: number;
  readonly subnet: string;
}

/** Lays out a cluster. Agents are n1…, managers m1…; more than one manager shares an etcd on a host of its own. */
export function layOut(wish: Wish): Layout {
  const tag = tagOf(wish.dir);
  const host = (name: string, kind: DevHost['kind'], last: number): DevHost => ({
    name,
    kind,
    address: `${wish.subnet}.${last}`,
    netns: `covey-${tag}-${name}`,
    port: `cv${tag}${name}`,
    stateDir: join(wish.dir, name),
    runDir: `/run/covey-${tag}/${name}`,
  });
  const count = (n: number) => Array.from({ length: n }, (_, i) => i);
  return {
    version: wish.version,
    dir: wish.dir,
    tag,
    bridge: `cv${tag}`,
    subnet: wish.subnet,
    runDir: `/run/covey-${tag}`,
    cgroup: `covey-${tag}`,
    context: join(wish.dir, 'context.json'),
    etcd: wish.managers === 1 ? 'embedded' : 'outside',
    hosts: [
      ...(wish.managers === 1 ? [] : [host('etcd', 'etcd', ETCD_HOST)]),
      ...count(wish.managers).map((i) => host(`m${i + 1}`, 'manager', FIRST_MANAGER + i)),
      ...count(wish.hosts).map((i) => host(`n${i + 1}`, 'agent', FIRST_AGENT + i)),
    ],
  };
}

/** The first /24 of 10.213.0.0/16, counted from the tag, that none of `taken` (CIDRs or addresses) touches. */
export function freeSubnet(tag: string, taken: readonly string[]): string | undefined {
  const start = Number.parseInt(tag.slice(0, 2), 16);
  for (let i = 0; i < 256; i += 1) {
    const subnet = `10.213.${(start + i) % 256}`;
    if (!taken.some((text) => text.startsWith(`${subnet}.`) || text.startsWith('10.213.0.0/16'))) return subnet;
  }
  return undefined;
}
