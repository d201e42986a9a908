/** `deploy/dev/cluster`: a cluster of hosts on one machine, from the command line. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { aborted } from '../../common/iterate.ts';
import { stopSignal } from '../../common/stop-signal.ts';
import { VERSION } from '../../common/version.ts';
import { ask, readLayout } from './door.ts';
import { HOSTS_MAX, type Layout, layOut, MANAGERS_MAX, tagOf } from './layout.ts';
import { isRunning } from './processes.ts';
import type { Status } from './status.ts';
import type { Fault } from './supervisor.ts';
import { endAll, readPid, sweep } from './sweep.ts';
import { pickSubnet } from './wires.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(dirname(here)));
/** For all steps of `up`, unless told otherwise; the waiting for its daemon is half as long again. */
const UP_SECONDS = 120;
const UP_SECONDS_MAX = 3_600;

const USAGE = `Usage: deploy/dev/cluster VERB [--dir D]

  up [--hosts N] [--managers N] [--detach]   start it; in the foreground, Ctrl-C stops it and keeps its state
     [--timeout SECONDS]                     for slow machines; 120 when not told otherwise
  status [--format json]                     what runs where
  exec HOST -- CMD...                        inside that host's network namespace
  fail HOST agent|link|host                  take it away until \`heal\`
  heal HOST
  down                                       stop everything, containers too; keep the state
  clean                                      remove everything

  --dir D   the cluster's directory (default: .cluster in the clone)
`;

/** The directory used when none is given. */
export const DEFAULT_DIR = join(root, '.cluster');

/** The layout for `dir`: the one that is there, or a new one. @throws ClusterError when another version wrote it */
export function prepare(dir: string, hosts: number | undefined, managers: number | undefined): Layout {
  if (existsSync(join(dir, 'cluster.json'))) {
    const layout = readLayout(dir);
    if (layout.version !== VERSION) {
      throw new ClusterError(
        'conflict',
        `the cluster in ${dir} was made by version ${layout.version}, this is ${VERSION}`,
        {
          hint: 'remove it with `deploy/dev/cluster clean`',
        },
      );
    }
    const agents = layout.hosts.filter((host) => host.kind === 'agent').length;
    if (hosts !== undefined && hosts !== agents) {
      throw new ClusterError('conflict', `the cluster in ${dir} has ${agents} hosts, not ${hosts}`, {
        hint: 'run it as it is, remove it first, or choose another --dir',
      });
    }
    return layout;
  }
  const subnet = pickSubnet(tagOf(dir));
  if (subnet === undefined) throw new ClusterError('exhausted', 'no /24 of 10.213.0.0/16 is free on this machine');
  const layout = layOut({ dir, version: VERSION, hosts: hosts ?? 3, managers: managers ?? 1, subnet });
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  writeFileSync(join(dir, 'cluster.json'), `${JSON.stringify(layout, undefined, 2)}\n`);
  return layout;
}

/** True while the cluster's supervisor runs. */
export function isUp(layout: Layout): boolean {
  const pid = readPid(join(layout.runDir, 'supervisor.pid'));
  return pid !== undefined && isRunning(pid, layout.dir);
}

/** Starts the daemon unless it runs, and waits until every node is ready, telling each step. */
export async function up(layout: Layout, tell: (step: string) => void, seconds = UP_SECONDS): Promise<Status> {
  // On a slow machine the daemon takes its time to say that it runs; as long as it lives it is waited for.
  let hasEnded = () => true;
  if (!isUp(layout)) {
    const log = openSync(join(layout.dir, 'supervisor.log'), 'a', 0o600);
    const child = spawn(process.execPath, [join(here, 'daemon.js'), layout.dir, String(seconds)], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    child.unref();
    hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  }
  const deadline = Date.now() + seconds * 1_500;
  for (let last = ''; ; await wait(100)) {
    const answer = await ask(layout, { verb: 'status' }).catch((error: unknown) => {
      if (hasEnded() && !isUp(layout)) throw error;
      return undefined;
    });
    if (answer?.failure !== undefined) {
      throw new ClusterError('internal', `the cluster did not come up: ${answer.failure}`, {
        hint: `see the logs in ${layout.dir}`,
      });
    }
    if (answer?.stage !== undefined && answer.stage !== last) {
      last = answer.stage;
      tell(last);
    }
    if (answer?.ready === true && answer.status !== undefined) return answer.status;
    if (Date.now() > deadline) {
      throw new ClusterError('unavailable', `the cluster is not ready after ${seconds * 1.5} s (${last})`, {
        hint: `see ${layout.dir}/*.log`,
      });
    }
  }
}

/** Stops everything, containers too; the state stays. */
export async function down(layout: Layout): Promise<void> {
  if (isUp(layout)) await ask(layout, { verb: 'down' });
  await endAll(layout);
}

/** Removes the cluster in `dir`; nothing there is no error. */
export async function clean(dir: string): Promise<void> {
  if (!existsSync(join(dir, 'cluster.json'))) return;
  await sweep(readLayout(dir));
}

/** A number given as a flag. */
export function count(text: string | undefined, flag: string, max: number): number | undefined {
  if (text === undefined) return undefined;
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= max) return number;
  throw new ClusterError('invalid', `--${flag} must be a whole number from 1 to ${max}, not "${text}"`, {
    field: flag,
  });
}

async function main(argv: readonly string[]): Promise<number> {
  const split = argv.indexOf('--');
  const own = split < 0 ? argv : argv.slice(0, split);
  const { values, positionals } = parseArgs({
    args: [...own],
    allowPositionals: true,
    options: {
      dir: { type: 'string' },
      hosts: { type: 'string' },
      managers: { type: 'string' },
      timeout: { type: 'string' },
      detach: { type: 'boolean' },
      format: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const [verb, host, what] = positionals;
  const dir = resolve(values.dir ?? DEFAULT_DIR);
  switch (verb) {
    case 'up': {
      const layout = prepare(
        dir,
        count(values.hosts, 'hosts', HOSTS_MAX),
        count(values.managers, 'managers', MANAGERS_MAX),
      );
      const seconds = count(values.timeout, 'timeout', UP_SECONDS_MAX);
      const status = await up(layout, (step) => console.error(step), seconds);
      console.log(`export COVEY_CONTEXT=${status.context}`);
      if (values.detach !== true) await untilInterrupted(layout);
      return 0;
    }
    case 'status':
      return printStatus(dir, values.format);
    case 'exec':
      return execOn(dir, host, split < 0 ? [] : argv.slice(split + 1));
    case 'fail':
      if (what !== 'agent' && what !== 'link' && what !== 'host')
        return usage(`fail needs agent, link or host, not "${what ?? ''}"`);
      await ask(readLayout(dir), { verb: 'fail', host: host ?? '', fault: what satisfies Fault });
      return 0;
    case 'heal':
      await ask(readLayout(dir), { verb: 'heal', host: host ?? '' });
      return 0;
    case 'down':
      await down(readLayout(dir));
      return 0;
    case 'clean':
      await clean(dir);
      return 0;
    default:
      return usage(values.help === true ? undefined : `unknown verb "${verb ?? ''}"`);
  }
}

function usage(complaint: string | undefined): number {
  if (complaint === undefined) process.stdout.write(USAGE);
  else process.stderr.write(`${complaint}\n\n${USAGE}`);
  return complaint === undefined ? 0 : 2;
}

async function printStatus(dir: string, format: string | undefined): Promise<number> {
  const { status, stage } = await ask(readLayout(dir), { verb: 'status' });
  if (format === 'json') {
    console.log(JSON.stringify(status));
    return 0;
  }
  console.log(`${stage}: context ${status?.context}`);
  for (const manager of status?.managers ?? [])
    console.log(`manager ${manager.name} ${manager.address} pid ${manager.pid ?? '-'}`);
  for (const node of status?.hosts ?? [])
    console.log(`host ${node.name} ${node.address} netns ${node.netns} agent pid ${node.agentPid ?? '-'}`);
  return 0;
}

async function execOn(dir: string, name: string | undefined, command: readonly string[]): Promise<number> {
  const host = readLayout(dir).hosts.find((one) => one.name === name);
  if (host === undefined) throw new ClusterError('not_found', `no host "${name ?? ''}" in ${dir}`);
  if (command.length === 0) return usage('exec needs a command after --');
  const child = spawn('nsenter', [`--net=/run/netns/${host.netns}`, '--', ...command], { stdio: 'inherit' });
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? (signal === null ? 1 : 128);
}

async function untilInterrupted(layout: Layout): Promise<void> {
  console.error('running; Ctrl-C stops it and keeps its state');
  const stop = stopSignal();
  // A timer keeps the process alive until then.
  setInterval(() => {}, 60_000);
  await aborted(stop);
  await down(layout);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).then(
    (code) => process.exit(code),
    (error: unknown) => {
      const known = toClusterError(error);
      console.error(`cluster: ${explain(known)}`);
      process.exit((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true ? 2 : 1);
    },
  );
}
