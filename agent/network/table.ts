/**
 * The nftables table as a value, and the scripts that lay it down or change it. Pure: state in, text out.
 *
 * A published port is one chain, found through a verdict map; a change of its backends flushes and refills that chain
 * and nothing else. Only the first packet of a connection sees these chains, so no change ever cuts one.
 * Why each rule is there: ADR 0007.
 */
import type { Protocol } from '../../common/model/service.ts';
import type { Backend, HostNetwork, HostPort } from './network.ts';
import { HAIRPIN_MARK, MARK_BASE, MARK_MASK, TABLE } from './owned.ts';

/** A task's port on its own host. */
export interface OpenHostPort extends HostPort {
  readonly address: string;
}

/** What the load balancer of one host is to do. */
export interface Balancer {
  readonly host: HostNetwork;
  /** Marks by the MAC of the ingress host they stand for. */
  readonly marks: ReadonlyMap<string, number>;
  /** Addresses of the other hosts. */
  readonly peerAddresses: readonly string[];
  readonly ports: readonly {
    readonly protocol: Protocol;
    readonly published: number;
    readonly backends: readonly Backend[];
  }[];
  readonly hostPorts: readonly OpenHostPort[];
}

/** The parts that change while the table stands. */
export interface TableContents {
  /** Elements as nft writes them: set or map name -> key -> value (`''` in a set). */
  readonly elements: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Chain name -> its one rule. */
  readonly chains: ReadonlyMap<string, string>;
}

/** The variable parts of the table for `balancer`; equal inputs in any order give equal contents. */
export function contentsOf(balancer: Balancer): TableContents {
  const chains = new Map<string, string>();
  const ports = new Map<string, string>();
  for (const port of [...balancer.ports].sort((a, b) => portKey(a).localeCompare(portKey(b)))) {
    const chain = `port_${port.protocol}_${port.published}`;
    chains.set(chain, balance(port.protocol, port.backends));
    ports.set(portKey(port), `goto ${chain}`);
  }
  const hostPorts = new Map<string, string>();
  for (const port of [...balancer.hostPorts].sort((a, b) => portKey(a).localeCompare(portKey(b)))) {
    const chain = `host_${port.protocol}_${port.published}`;
    chains.set(chain, `meta l4proto ${port.protocol} dnat to ${port.address}:${port.target}`);
    hostPorts.set(portKey(port), `goto ${chain}`);
  }
  const nodes = [...new Set([balancer.host.address, ...balancer.peerAddresses])].sort();
  const marks = [...balancer.marks].sort(([a], [b]) => a.localeCompare(b));
  return {
    elements: new Map([
      ['nodes', new Map(nodes.map((address) => [address, '']))],
      ['peers', new Map(marks.map(([mac, mark]) => [mac, hex(mark)]))],
      ['ports', ports],
      ['host_ports', hostPorts],
    ]),
    chains,
  };
}

/** One transaction that replaces whatever table of ours is there; packets see the old one or the new one, never none. */
export function layDown(host: HostNetwork, contents: TableContents): string {
  const lines = [`add table ip ${TABLE}`, `delete table ip ${TABLE}`, `table ip ${TABLE} {`];
  lines.push(...declarations().map((line) => `  ${line}`));
  for (const [name, rule] of contents.chains) lines.push(`  chain ${name} {`, `    ${rule}`, '  }');
  for (const [header, rules] of baseChains(host)) {
    lines.push(`  chain ${header}`, ...rules.map((rule) => `    ${rule}`), '  }');
  }
  lines.push('}');
  for (const [set, elements] of contents.elements) lines.push(...elementCommand('add', set, [...elements]));
  return `${lines.join('\n')}\n`;
}

/** One transaction from `from` to `to`, naming only what differs; empty when nothing does. */
export function change(from: TableContents, to: TableContents): string {
  const lines: string[] = [];
  for (const [name, rule] of to.chains) {
    const old = from.chains.get(name);
    if (old === rule) continue;
    lines.push(old === undefined ? `add chain ip ${TABLE} ${name}` : `flush chain ip ${TABLE} ${name}`);
    lines.push(`add rule ip ${TABLE} ${name} ${rule}`);
  }
  for (const [set, wanted] of to.elements) {
    const had = from.elements.get(set) ?? new Map<string, string>();
    lines.push(
      ...elementCommand(
        'delete',
        set,
        [...had].filter(([key, value]) => wanted.get(key) !== value),
      ),
    );
    lines.push(
      ...elementCommand(
        'add',
        set,
        [...wanted].filter(([key, value]) => had.get(key) !== value),
      ),
    );
  }
  // Last, when nothing leads to them any more.
  for (const name of from.chains.keys()) {
    if (!to.chains.has(name)) lines.push(`flush chain ip ${TABLE} ${name}`, `delete chain ip ${TABLE} ${name}`);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Removes the table, also when there is none. */
export const REMOVE_TABLE = `add table ip ${TABLE}\ndelete table ip ${TABLE}\n`;

/** The map key of a port, as nft writes it. */
function portKey(port: { readonly protocol: Protocol; readonly published: number }): string {
  return `${port.protocol} . ${port.published}`;
}

/** The rule of a port's chain. A refusal in a nat chain is seen by new connections only. */
function balance(protocol: Protocol, backends: readonly Backend[]): string {
  if (backends.length === 0) {
    return `meta l4proto ${protocol} reject with ${protocol === 'tcp' ? 'tcp reset' : 'icmp type port-unreachable'}`;
  }
  const inOrder = [...backends].sort((a, b) => (a.taskId < b.taskId ? -1 : 1));
  const seats = inOrder.map((backend, index) => `${index} : ${backend.address} . ${backend.target}`);
  return `meta l4proto ${protocol} dnat ip to numgen inc mod ${seats.length} map { ${seats.join(', ')} }`;
}

function elementCommand(
  verb: 'add' | 'delete',
  set: string,
  elements: readonly (readonly [string, string])[],
): string[] {
  if (elements.length === 0) return [];
  const texts = elements.map(([key, value]) => (value === '' ? key : `${key} : ${value}`));
  return [`${verb} element ip ${TABLE} ${set} { ${texts.join(', ')} }`];
}

function declarations(): string[] {
  return [
    'set nodes {',
    '  type ipv4_addr',
    '}',
    'map peers {',
    '  type ether_addr : mark',
    '}',
    'map ports {',
    '  type inet_proto . inet_service : verdict',
    '}',
    'map host_ports {',
    '  type inet_proto . inet_service : verdict',
    '}',
    // A client that uses a port again while the kernel remembers its last connection is sent where that one went, even
    // if the backend has left since, and that connection is not counted as open. So finished ones are forgotten at once.
    'ct timeout brief {',
    '  protocol tcp',
    '  l3proto ip',
    '  policy = { time_wait : 1, close : 1 }',
    '}',
  ];
}

const HOST_PORT = 'fib daddr type local meta l4proto . th dport vmap @host_ports';
const BRIEF = 'meta l4proto tcp ct state new ct timeout set "brief"';
const INGRESS = 'fib daddr type local meta l4proto . th dport vmap @ports';

/** Headers and rules of the chains that hang on the kernel's hooks; they depend on the host only. */
function baseChains(host: HostNetwork): readonly (readonly [string, readonly string[]])[] {
  return [
    [
      'guard { type filter hook prerouting priority raw; policy accept;',
      [
        // route_localnet would let neighbours speak to what listens on 127.0.0.1.
        'iifname != "lo" ip daddr 127.0.0.0/8 drop',
        // A source that is not routed back through this very veth is spoofed.
        'iifname "cv*" fib saddr . iif oif missing drop',
      ],
    ],
    [
      'marks { type filter hook prerouting priority mangle; policy accept;',
      [
        // The answer goes back to the host through which the connection came, which alone can undo its DNAT.
        `iifname "cv*" ct direction reply ct mark and ${hex(MARK_MASK)} == ${hex(MARK_BASE)} meta mark set ct mark`,
        `ip daddr ${host.pool} ${BRIEF}`,
        `fib daddr type local ${BRIEF}`,
        `ip daddr @nodes ${BRIEF}`,
        `iifname != "cv*" ct state new ip daddr ${host.block} ip saddr != ${host.pool} ct mark set ether saddr map @peers`,
      ],
    ],
    [
      'arriving { type nat hook prerouting priority dstnat; policy accept;',
      [HOST_PORT, INGRESS, 'iifname "cv*" ip daddr @nodes meta l4proto . th dport vmap @ports'],
    ],
    [
      'own_marks { type filter hook output priority mangle; policy accept;',
      [`ip daddr ${host.pool} ${BRIEF}`, `fib daddr type local ${BRIEF}`, `ip daddr @nodes ${BRIEF}`],
    ],
    [
      'own { type nat hook output priority -100; policy accept;',
      [
        // The host's resolver and its like on other loopback addresses are nobody's published port.
        'ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1 return',
        HOST_PORT,
        INGRESS,
        'ip daddr @nodes meta l4proto . th dport vmap @ports',
      ],
    ],
    [
      'passing { type filter hook forward priority filter; policy accept;',
      [`iifname "cv*" oifname "cv*" fib daddr . iif oif exists meta mark set ${hex(HAIRPIN_MARK)}`],
    ],
    [
      'leaving { type nat hook postrouting priority srcnat; policy accept;',
      [
        `meta mark ${hex(HAIRPIN_MARK)} snat to ${host.address}`,
        // The host itself by 127.0.0.1 or a second address: answers must find the way to this host.
        `ct status dnat fib saddr type local ip saddr != ${host.address} snat to ${host.address}`,
        `ip saddr ${host.block} ip daddr != ${host.pool} ip daddr != @nodes masquerade`,
      ],
    ],
  ];
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
