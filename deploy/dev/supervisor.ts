/**
 * Keeps a cluster's processes running as systemd would on real hosts: one child a host, each in its own namespaces,
 * started again when it ends, unless a fault was asked for. All children die with the supervisor; containers do not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { DevHost, Layout } from './layout.ts';
import { ETCD_PORT, PORT } from './layout.ts';
import { killAll, membersOf } from './processes.ts';
import { setCable, tearOut } from './wires.ts';

/** Restarts wait so long at first, twice as long after each quick end, at most RESTART_MAX_MS. */
const RESTART_MIN_MS = 100;
const RESTART_MAX_MS = 2_000;
/** A program that has not ended by then never will. */
const KILL_AFTER_MS = 10_000;
/** A process that ran for so long has started well. */
const STEADY_MS = 5_000;

export type Fault = 'agent' | 'link' | 'host';

interface Kept {
  readonly host: DevHost;
  child: ChildProcess | undefined;
  wanted: boolean;
  delayMs: number;
}

const dist = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The command line that runs `argv` on a host: its network, its own host name and mounts; ends with the supervisor. */
export function onHost(host: DevHost, argv: readonly string[]): readonly string[] {
  const spaces = [
    'nsenter',
    `--net=/run/netns/${host.netns}`,
    '--',
    'unshare',
    '--uts',
    '--mount',
    '--propagation',
    'slave',
  ];
  return [
    'setpriv',
    '--pdeathsig',
    'KILL',
    '--',
    ...spaces,
    '--',
    'sh',
    '-c',
    'hostname "$0" && exec "$@"',
    host.name,
    ...argv,
  ];
}

/** A program of ours with its arguments. */
export function program(name: 'manager' | 'agent' | 'cli', ...args: readonly string[]): readonly string[] {
  return [process.execPath, join(dist, name, 'main.js'), ...args];
}

/** Where manager settings differ from their defaults. */
export function managerFlags(layout: Layout, host: DevHost): readonly string[] {
  const address = `${host.address}:${PORT}`;
  const own = ['--state-dir', host.stateDir, '--run-dir', host.runDir, '--listen', address, '--advertise', address];
  const etcd = layout.hosts.find((other) => other.kind === 'etcd');
  if (etcd === undefined) return own;
  const pem = (name: string) => join(etcd.stateDir, name);
  const files = ['--etcd-ca', pem('ca.pem'), '--etcd-cert', pem('cert.pem'), '--etcd-key', pem('key.pem')];
  return [...own, '--etcd', `https://${etcd.address}:${ETCD_PORT}`, ...files];
}

export function agentFlags(layout: Layout, host: DevHost): readonly string[] {
  const own = [
    '--state-dir',
    host.stateDir,
    '--address',
    host.address,
    '--cgroup-parent',
    `${layout.cgroup}/${host.name}`,
  ];
  // All hosts share the machine's disk, which is full of other things than theirs.
  return [...own, '--disk-pressure', '98'];
}

/** What runs on a host for good. */
function commandOf(layout: Layout, host: DevHost): readonly string[] {
  switch (host.kind) {
    case 'manager':
      return program('manager', 'run', ...managerFlags(layout, host));
    case 'agent':
      return program('agent', 'run', ...agentFlags(layout, host));
    case 'etcd': {
      const url = `https://${host.address}:${ETCD_PORT}`;
      const pem = (name: string) => join(host.stateDir, name);
      const tls = ['--cert-file', pem('cert.pem'), '--key-file', pem('key.pem'), '--trusted-ca-file', pem('ca.pem')];
      // A socket in its working directory: etcd takes no path here, only what looks like HOST:PORT.
      const peer = 'unix://peer:0';
      const peers = [
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `etcd=${peer}`,
      ];
      const data = ['--name', 'etcd', '--data-dir', join(host.stateDir, 'data')];
      return [
        'etcd',
        ...data,
        '--listen-client-urls',
        url,
        '--advertise-client-urls',
        url,
        '--client-cert-auth',
        ...tls,
        ...peers,
      ];
    }
  }
}

export class Supervisor {
  readonly #layout: Layout;
  readonly #kept = new Map<string, Kept>();
  #closing = false;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Starts the host's process and keeps it running. */
  keep(host: DevHost): void {
    const kept: Kept = { host, child: undefined, wanted: true, delayMs: RESTART_MIN_MS };
    this.#kept.set(host.name, kept);
    this.#start(kept);
  }

  /** The pid of the host's own process; undefined while it is down. */
  pidOf(name: string): number | undefined {
    return this.#kept.get(name)?.child?.pid;
  }

  /** Takes an agent, a cable or a whole host away, until `heal`. */
  async fail(name: string, fault: Fault): Promise<void> {
    const kept = this.#find(name);
    if (fault === 'link' || fault === 'host') setCable(kept.host, 'down');
    if (fault === 'link') return;
    kept.wanted = false;
    kept.child?.kill('SIGKILL');
    if (fault === 'host') await killAll(() => membersOf(this.#layout, [kept.host]));
  }

  /** Undoes every fault of the host. */
  heal(name: string): void {
    const kept = this.#find(name);
    if (!kept.wanted) tearOut(kept.host);
    setCable(kept.host, 'up');
    if (kept.wanted) return;
    kept.wanted = true;
    kept.delayMs = RESTART_MIN_MS;
    if (kept.child === undefined) this.#start(kept);
  }

  /** Ends the children in order: agents, managers, etcd. Containers run on. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const kind of ['agent', 'manager', 'etcd'] as const) {
      const ending = [...this.#kept.values()].filter((kept) => kept.host.kind === kind && kept.child !== undefined);
      await Promise.all(ending.map((kept) => end(kept.child as ChildProcess)));
    }
  }

  #find(name: string): Kept {
    const kept = this.#kept.get(name);
    if (kept !== undefined) return kept;
    const known = [...this.#kept.keys()].join(', ');
    throw new ClusterError('not_found', `no host "${name}" in this cluster`, { hint: `there are ${known}` });
  }

  #start(kept: Kept): void {
    const { host } = kept;
    mkdirSync(host.stateDir, { recursive: true, mode: 0o700 });
    mkdirSync(host.runDir, { recursive: true, mode: 0o700 });
    const log = openSync(join(this.#layout.dir, `${host.name}.log`), 'a', 0o600);
    const [command, ...args] = onHost(host, commandOf(this.#layout, host));
    const startedAt = Date.now();
    const child = spawn(command as string, args, {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: host.runDir,
    });
    closeSync(log);
    kept.child = child;
    const ended = (): void => {
      if (kept.child !== child) return;
      kept.child = undefined;
      if (this.#closing || !kept.wanted) return;
      if (Date.now() - startedAt > STEADY_MS) kept.delayMs = RESTART_MIN_MS;
      systemClock.after(kept.delayMs, () => {
        if (kept.wanted && kept.child === undefined && !this.#closing) this.#start(kept);
      });
      kept.delayMs = Math.min(kept.delayMs * 2, RESTART_MAX_MS);
    };
    child.once('exit', ended);
    child.once('error', ended);
  }
}

/** SIGTERM, and SIGKILL when that does not end it. */
async function end(child: ChildProcess): Promise<void> {
  const cancel = systemClock.after(KILL_AFTER_MS, () => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
  cancel();
}
