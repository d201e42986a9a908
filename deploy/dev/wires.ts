/** The cluster's network on the machine: one bridge, and for each host a namespace with a cable to it. */
import { existsSync } from 'node:fs';
import { run, tryRun } from './command.ts';
import { type DevHost, freeSubnet, type Layout } from './layout.ts';

/** Addresses and routes that the machine has already, so that ours are none of them. */
export function pickSubnet(tag: string): string | undefined {
  const routes = run('ip', '-4', 'route', 'show', 'table', 'all').split('\n');
  const taken = routes.map((line) => line.replace(/^(broadcast|local|unreachable|blackhole) /, '').split(' ')[0] ?? '');
  return freeSubnet(tag, taken);
}

/** Makes what is missing of the bridge and the hosts' cables; what is there stays as it is. */
export function plugIn(layout: Layout): void {
  if (tryRun('ip', 'link', 'show', layout.bridge) === undefined) {
    run('ip', 'link', 'add', layout.bridge, 'type', 'bridge', 'forward_delay', '0');
    run('ip', 'addr', 'add', `${layout.subnet}.1/24`, 'dev', layout.bridge);
    run('ip', 'link', 'set', layout.bridge, 'up');
  }
  for (const host of layout.hosts) plugInHost(layout, host);
}

function plugInHost(layout: Layout, host: DevHost): void {
  if (existsSync(`/run/netns/${host.netns}`) && tryRun('ip', 'link', 'show', host.port) !== undefined) return;
  tryRun('ip', 'netns', 'del', host.netns);
  run('ip', 'netns', 'add', host.netns);
  run('ip', 'link', 'add', host.port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', host.netns);
  run('ip', 'link', 'set', host.port, 'master', layout.bridge, 'up');
  const inside = (...args: string[]) => run('ip', '-n', host.netns, ...args);
  inside('link', 'set', 'lo', 'up');
  inside('addr', 'add', `${host.address}/24`, 'dev', 'eth0');
  inside('link', 'set', 'eth0', 'up');
  inside('route', 'add', 'default', 'via', `${layout.subnet}.1`);
}

/** Cuts or mends the host's cable. */
export function setCable(host: DevHost, state: 'up' | 'down'): void {
  run('ip', 'link', 'set', host.port, state);
}

/** Takes the bridge and all namespaces away; what is gone already is no error. */
export function unplug(layout: Layout): void {
  for (const host of layout.hosts) {
    tryRun('ip', 'link', 'del', host.port);
    tryRun('ip', 'netns', 'del', host.netns);
  }
  tryRun('ip', 'link', 'del', layout.bridge);
}

/** A host that was switched off has lost what its kernel knew: rules, routes and tables inside its namespace. */
export function tearOut(host: DevHost): void {
  const inside = (...args: string[]) => tryRun('ip', 'netns', 'exec', host.netns, ...args);
  inside('nft', 'flush', 'ruleset');
  inside('conntrack', '-F');
  inside('ip', 'rule', 'flush');
  inside('ip', 'rule', 'add', 'from', 'all', 'lookup', 'local', 'pref', '0');
  inside('ip', 'rule', 'add', 'from', 'all', 'lookup', 'main', 'pref', '32766');
  inside('ip', 'rule', 'add', 'from', 'all', 'lookup', 'default', 'pref', '32767');
  inside('ip', 'route', 'flush', 'scope', 'global', 'proto', 'static');
}
