/** What a running cluster consists of, for scripts. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Layout } from './layout.ts';
import { PORT } from './layout.ts';

export interface Status {
  readonly hosts: readonly {
    readonly name: string;
    readonly address: string;
    /** For `ip netns exec`. */
    readonly netns: string;
    readonly agentPid: number | null;
    readonly stateDir: string;
  }[];
  readonly managers: readonly { readonly name: string; readonly address: string; readonly pid: number | null }[];
  readonly etcd: readonly { readonly endpoint: string; readonly pid: number }[];
  /** For COVEY_CONTEXT. */
  readonly context: string;
}

/** @param pidOf the pid of a host's own process; undefined while it is down */
export function statusOf(layout: Layout, pidOf: (name: string) => number | undefined): Status {
  const managers = layout.hosts.filter((host) => host.kind === 'manager');
  const parents = layout.hosts.filter((host) => host.kind !== 'agent').map((host) => pidOf(host.name));
  return {
    hosts: layout.hosts
      .filter((host) => host.kind === 'agent')
      .map((host) => ({
        name: host.name,
        address: host.address,
        netns: host.netns,
        agentPid: pidOf(host.name) ?? null,
        stateDir: host.stateDir,
      })),
    managers: managers.map((host) => ({
      name: host.name,
      address: `${host.address}:${PORT}`,
      pid: pidOf(host.name) ?? null,
    })),
    etcd: etcds(new Set(parents.filter((pid) => pid !== undefined))),
    context: layout.context,
  };
}

/** etcd processes that are one of `owners` or their child. */
function etcds(owners: ReadonlySet<number>): Status['etcd'] {
  const found: { endpoint: string; pid: number }[] = [];
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (!/(^|\/)etcd$/.test(args[0] ?? '')) continue;
      const parent = Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
      const joined = args.find((arg) => arg.startsWith('--listen-client-urls='))?.split('=')[1];
      const endpoint = joined ?? args[args.indexOf('--listen-client-urls') + 1] ?? '';
      if (owners.has(pid) || owners.has(parent)) found.push({ endpoint, pid });
    } catch {
      // Ended meanwhile.
    }
  }
  return found;
}
