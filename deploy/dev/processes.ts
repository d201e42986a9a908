/** Which processes of the machine belong to a cluster, found by what the kernel says of them and not by what we remember. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ClusterError } from '../../common/errors.ts';
import type { DevHost, Layout } from './layout.ts';

const CGROUP_ROOTS = '/sys/fs/cgroup';
/** How long killed processes may take to vanish. */
const GONE_MS = 10_000;
/** How long the machine's init may take to bury those whose parent died first; some look only once a second. */
const BURIED_MS = 5_000;

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function netnsOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    // Gone meanwhile.
    return undefined;
  }
}

function inodeOf(netns: string): string | undefined {
  try {
    return `net:[${statSync(`/run/netns/${netns}`).ino}]`;
  } catch {
    return undefined;
  }
}

/** Every hierarchy's folder of that name, deepest first, so that they can be removed in this order. */
export function cgroupDirs(name: string): string[] {
  const found: string[] = [];
  const walk = (dir: string): void => {
    let entries: string[];
    try {
      entries = readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name);
    } catch {
      return;
    }
    for (const entry of entries) walk(join(dir, entry));
    found.push(dir);
  };
  const roots = readdirSync(CGROUP_ROOTS).map((entry) => join(CGROUP_ROOTS, entry));
  for (const root of [CGROUP_ROOTS, ...roots]) {
    try {
      if (statSync(join(root, name)).isDirectory()) walk(join(root, name));
    } catch {
      // Not in this hierarchy.
    }
  }
  return found;
}

function inCgroups(name: string): Set<number> {
  const members = new Set<number>();
  for (const dir of cgroupDirs(name)) {
    try {
      for (const line of readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n'))
        if (line !== '') members.add(Number(line));
    } catch {
      // Removed meanwhile, or a hierarchy without that file.
    }
  }
  return members;
}

/** Processes in the hosts' network namespaces and in their containers' cgroups. */
export function membersOf(layout: Layout, hosts: readonly DevHost[]): number[] {
  const spaces = new Set(hosts.map((host) => inodeOf(host.netns)).filter((inode) => inode !== undefined));
  const found = new Set(pids().filter((pid) => spaces.has(netnsOf(pid) ?? '')));
  for (const host of hosts) for (const pid of inCgroups(`${layout.cgroup}/${host.name}`)) found.add(pid);
  found.delete(process.pid);
  return [...found];
}

/** Kills until none is left, not even as a zombie: a process may have started another in between. */
export async function killAll(find: () => readonly number[]): Promise<void> {
  const deadline = Date.now() + GONE_MS;
  const killed = new Set<number>();
  for (let left = find(); left.length > 0; left = find()) {
    if (Date.now() > deadline) throw new ClusterError('internal', `processes ${left.join(' ')} do not end`);
    for (const pid of left) {
      killed.add(pid);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone meanwhile.
      }
    }
    await wait(20);
  }
  // Containers whose agent died are children of init by then; an init that never reaps is not ours to wait for.
  const buriedBy = Date.now() + BURIED_MS;
  while ([...killed].some(isZombie) && Date.now() < buriedBy) await wait(20);
}

function isZombie(pid: number): boolean {
  try {
    return /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** True while the process runs and was started as our program (its command line holds `mark`). */
export function isRunning(pid: number, mark: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(mark) && !isZombie(pid);
  } catch {
    return false;
  }
}
