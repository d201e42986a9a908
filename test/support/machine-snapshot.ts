/**
 * What a cluster could leave behind on this machine, as lines of text: taken before and after, the difference must be
 * nothing. What carries the tag of another cluster is not ours to judge: clusters may run side by side.
 */
import { execFileSync } from 'node:child_process';
import { type Dirent, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { tagOf } from '../../deploy/dev/layout.ts';
import { until } from './until.ts';

/** Lines by kind: processes, mounts, links, … */
export type MachineSnapshot = ReadonlyMap<string, ReadonlySet<string>>;

/** Names of our programs, also when nothing but the name is left of one (a zombie has no command line). */
const OUR_PROGRAMS = /^(covey|etcd|setpriv|nsenter|unshare)/;
const OUR_COMMANDS = /dist\/(manager|agent|deploy)\//;
/** Values that the kernel counts by itself, not settings. */
const COUNTED = /nf_conntrack_(count|buckets)$/;
const ENDS_BY_ITSELF = new Set(['process', 'cgroup', 'temporary file']);
/** The kernel takes a moment to take links and cgroups down. */
const SETTLED_MS = 10_000;
/** A cluster's name in the kernel, the directory that a test's cluster has, and what single containers of tests are called. */
const OF_A_CLUSTER = /\bcv([0-9a-f]{6})|\bcovey-([0-9a-f]{6})\b|\b(cv-\w{6})\b|\b(covey-test-\w+)/g;

/** Takes the picture; about a quarter of a second. */
export function machineSnapshot(): MachineSnapshot {
  const output = (command: string, ...args: readonly string[]): readonly string[] =>
    execFileSync(command, args, { encoding: 'utf8', maxBuffer: 64e6, stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\n')
      .filter((line) => line !== '');
  const pictures: readonly (readonly [kind: string, lines: readonly string[]])[] = [
    ['process', processes()],
    ['mount', readFileSync('/proc/self/mountinfo', 'utf8').split('\n').map(mountOf)],
    ['network namespace', names('/run/netns')],
    ['link', output('ip', '-o', 'link').map((line) => line.split(':')[1]?.split('@')[0]?.trim() ?? '')],
    ['nft table', output('nft', 'list', 'tables')],
    ['ip rule', [...output('ip', 'rule'), ...output('ip', '-6', 'rule')]],
    ['route', [...routes(output, '-4'), ...routes(output, '-6')]],
    ['cgroup', folders('/sys/fs/cgroup')],
    ['sysctl', everything('/proc/sys/net').map(settingOf)],
    ['file', [...everything('/run'), ...everything('/var')]],
    ['temporary file', names(tmpdir()).filter((name) => /^(covey-web|cv)-/.test(name))],
  ];
  return new Map(pictures.map(([kind, lines]) => [kind, new Set(lines)]));
}

/** What came and went between two pictures, apart from what carries another cluster's name than the given ones. */
function differences(before: MachineSnapshot, after: MachineSnapshot, tags: readonly string[]): string[] {
  const found: string[] = [];
  for (const [kind, lines] of after) {
    const old = before.get(kind) ?? new Set();
    for (const line of lines) if (!old.has(line) && isOurs(line, tags)) found.push(`+ ${kind} ${line}`);
    // What others of the machine have ended meanwhile is none of our doing.
    if (ENDS_BY_ITSELF.has(kind)) continue;
    for (const line of old) if (!lines.has(line) && isOurs(line, tags)) found.push(`- ${kind} ${line}`);
  }
  return found;
}

/** @throws naming what is left of the clusters that were in these directories, when the machine does not become as it was */
export async function untilAsBefore(before: MachineSnapshot, ...dirs: readonly string[]): Promise<void> {
  const tags = dirs.flatMap((dir) => [tagOf(dir), basename(dir)]);
  let left: readonly string[] = [];
  const settled = () => {
    left = differences(before, machineSnapshot(), tags);
    return left.length === 0;
  };
  await until('nothing is left', SETTLED_MS, settled).catch((cause: unknown) => {
    throw new Error(`left behind:\n${left.join('\n')}`, { cause });
  });
}

function isOurs(line: string, tags: readonly string[]): boolean {
  const mentioned = [...line.matchAll(OF_A_CLUSTER)].map((match) => match[1] ?? match[2] ?? match[3] ?? match[4] ?? '');
  return mentioned.length === 0 || mentioned.some((tag) => tags.includes(tag));
}

function processes(): readonly string[] {
  const hosts = new Map(names('/run/netns').map((name) => [inodeOf(`/run/netns/${name}`), name]));
  return names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const stat = text(`/proc/${pid}/stat`);
      const program = /\((.*)\)/s.exec(stat)?.[1] ?? '';
      const command = text(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
      const cgroup = text(`/proc/${pid}/cgroup`).replaceAll('\n', ' ');
      if (!OUR_PROGRAMS.test(program) && !OUR_COMMANDS.test(command) && !cgroup.includes('/covey')) return [];
      const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state === 'Z') return [`${pid} ${program}, a zombie of ${parent}`];
      const dir = /(?:daemon\.js|--dir) (\S+)/.exec(command)?.[1];
      const cluster = dir === undefined ? '' : `covey-${tagOf(dir)}`;
      return [`${pid} ${program}: ${command} ${cluster} ${hosts.get(inodeOf(`/proc/${pid}/ns/net`)) ?? ''} ${cgroup}`];
    });
}

function inodeOf(path: string): number {
  try {
    return statSync(path).ino;
  } catch {
    return 0;
  }
}

function mountOf(line: string): string {
  const fields = line.split(' ');
  return `${fields[4] ?? ''} ${line.split(' - ')[1]?.split(' ')[0] ?? ''}`;
}

function settingOf(path: string): string {
  return COUNTED.test(path) ? path : `${path} ${text(path).trim()}`;
}

/** Without what changes by itself: time left, addresses of caches. */
function routes(output: (command: string, ...args: string[]) => readonly string[], family: '-4' | '-6'): string[] {
  return output('ip', family, 'route', 'show', 'table', 'all').map((line) => line.replace(/ expires \d+sec/, ''));
}

function folders(root: string): string[] {
  const found: string[] = [];
  for (const entry of entriesOf(root)) {
    if (!entry.isDirectory()) continue;
    const path = join(root, entry.name);
    found.push(path, ...folders(path));
  }
  return found;
}

function everything(root: string): string[] {
  const found: string[] = [];
  for (const entry of entriesOf(root)) {
    const path = join(root, entry.name);
    found.push(path);
    if (entry.isDirectory()) found.push(...everything(path));
  }
  return found;
}

/** What goes away while we look at it is as good as not there. */
function entriesOf(folder: string): readonly Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function names(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
