#!/usr/bin/env node
/** `covey-agent`: reads its settings, takes up what runs on this host, and works until it is told to stop. Containers stay. */
import { execFile } from 'node:child_process';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../common/clock.ts';
import { type ConfigSources, helpText, loadConfig } from '../common/config.ts';
import { ClusterError, explain, toClusterError } from '../common/errors.ts';
import { aborted } from '../common/iterate.ts';
import { type Log, type LogLevel, makeLog } from '../common/log.ts';
import type { Digest } from '../common/model/ids.ts';
import { stopSignal } from '../common/stop-signal.ts';
import { readIdentity, writeIdentity } from '../common/tls/identity.ts';
import { builtFile, native } from '../native/index.ts';
import { identityPath, startAgent } from './agent.ts';
import { Builder, type BuilderParts } from './build/builder.ts';
import { takeDirectory } from './directory.ts';
import type { Marks } from './disk/marks.ts';
import { LayerImages } from './image/layer-images.ts';
import { join as joinCluster } from './join.ts';
import { leave } from './leave.ts';
import { NativeNetwork } from './network/native-network.ts';
import { namesFiles, placedFiles } from './placed-files.ts';
import { cgroupParent } from './runtime/cgroup-parent.ts';
import { NativeRuntime } from './runtime/native-runtime.ts';
import { type UserNamespaces, userNamespaces } from './runtime/user-namespaces.ts';
import { AGENT_SETTINGS, type AgentConfig, JOIN_SETTINGS, LEAVE_SETTINGS } from './settings.ts';
import type { ImageSources, OpenImages } from './shared-images.ts';

const USAGE = 'run | join --token TOKEN HOST:PORT... | leave [--force]';
const SOURCES = { program: 'covey-agent', env: process.env, defaultFile: '/etc/covey/agent.json' };
/** What of the agent touches the kernel. */
interface HostParts {
  readonly runtime: NativeRuntime;
  readonly network: NativeNetwork;
  readonly userns: UserNamespaces;
}

const execute = promisify(execFile);
const EXIT = { error: 1, usage: 2 } as const;

async function main(argv: readonly string[]): Promise<void> {
  const [verb, ...rest] = argv;
  if (verb === 'join') return await runJoin({ ...SOURCES, argv: rest });
  if (verb === 'leave') return await runLeave({ ...SOURCES, argv: rest });
  const { config, help, words } = loadConfig(AGENT_SETTINGS, { ...SOURCES, argv: verb === 'run' ? rest : argv });
  if (help) return say(helpText('covey-agent', USAGE, AGENT_SETTINGS));
  refuse(words);
  await run(config);
}

/** Runs until SIGTERM or SIGINT, or until a part of it has failed for good. */
async function run(config: AgentConfig): Promise<void> {
  const stateDir = config['state-dir'];
  const log = makeLog({ program: 'covey-agent', level: config['log-level'] as LogLevel });
  const stop = stopSignal();
  const release = await takeDirectory(stateDir, systemClock, stop);
  const identity = await readIdentity(identityPath(stateDir));
  if (identity === undefined) {
    throw new ClusterError('not_found', `this host has not joined a cluster: ${stateDir} holds no identity`, {
      hint: 'run `covey-agent join --token TOKEN HOST:PORT`',
    });
  }
  const { runtime, network, userns } = await hostParts(config, stop);
  if (userns.unfit !== undefined) {
    log.warn({ reason: userns.unfit }, 'no user namespaces here: only services with --userns host can run');
  }
  const agent = await startAgent({
    stateDir,
    address: config.address,
    identity,
    marks: marksOf(config),
    runtime,
    network,
    openImages: (sources) => openImages(config, sources, runtime, log),
    meshPort: config['mesh-port'],
    filesFor: placedFiles,
    clock: systemClock,
    log,
  });
  await tellSystemd('READY=1', log);
  await aborted(AbortSignal.any([stop, agent.failed]));
  await tellSystemd('STOPPING=1', log);
  log.info('stopping; containers go on');
  await agent.close();
  runtime.close();
  await network.stop();
  release();
}

/** @throws ClusterError `invalid` when they contradict each other */
function marksOf(config: AgentConfig): Marks {
  const marks = { high: config['disk-high'], low: config['disk-low'], pressure: config['disk-pressure'] };
  if (marks.low <= marks.high && marks.high <= marks.pressure) return marks;
  throw new ClusterError('invalid', `disk marks ${marks.low}, ${marks.high} and ${marks.pressure} are not in order`, {
    field: 'disk-high',
    hint: 'disk-low must not be above disk-high, nor that above disk-pressure',
  });
}

async function openImages(
  config: AgentConfig,
  { servers, mesh }: ImageSources,
  runtime: NativeRuntime,
  log: Log,
): Promise<OpenImages> {
  const images = await LayerImages.open({
    dir: join(config['state-dir'], 'images'),
    servers,
    mesh: { ...mesh, uploadRate: config['mesh-upload-rate'], downloadRate: config['mesh-download-rate'] },
    keepBytes: config['mesh-keep-bytes'],
    log,
  });
  const dir = join(config['state-dir'], 'build');
  const files = (): ReturnType<typeof namesFiles> => namesFiles('build', '127.0.1.1');
  const own = { dir, images, runtime, servers, files, clock: systemClock, log };
  const opened = { images, openBuilder: (connect: BuilderParts['connect']) => Builder.open({ ...own, connect }) };
  const { exchange, holdings } = images;
  if (exchange === undefined) return opened;
  const packed = () => images.packed();
  const dropPacked = (digest: Digest) => images.dropPacked(digest);
  return { ...opened, shared: { exchange, holdings, packed, dropPacked } };
}

async function hostParts(config: AgentConfig, signal: AbortSignal): Promise<HostParts> {
  const addon = native();
  const stateDir = config['state-dir'];
  const shimPath = builtFile('covey-shim');
  const userns = await userNamespaces({ setting: config['user-ids'], folder: stateDir, shimPath }, signal);
  const parent = await cgroupParent({
    configured: `/${config['cgroup-parent'].replace(/^\/+/, '')}`,
    addon,
    shimPath,
    run: async (command, args) => (await execute(command, [...args], { signal })).stdout,
    sleep: (ms) => systemClock.sleep(ms, signal),
  });
  const containers = { stateDir: join(stateDir, 'containers'), cgroupParent: parent, clock: systemClock, addon };
  return { runtime: new NativeRuntime({ ...containers, userns }), network: new NativeNetwork(addon, stateDir), userns };
}

async function runJoin(sources: ConfigSources): Promise<void> {
  const { config, help, words } = loadConfig(JOIN_SETTINGS, sources);
  if (help) return say(helpText('covey-agent', USAGE, JOIN_SETTINGS));
  if (words.length === 0) {
    throw new ClusterError('invalid', 'no manager to join was named', {
      field: 'address',
      hint: `covey-agent ${USAGE}`,
    });
  }
  const path = identityPath(config['state-dir']);
  const known = await readIdentity(path);
  if (known !== undefined) {
    throw new ClusterError('exists', `this host is node ${known.id} of cluster ${known.clusterId} already`, {
      hint: 'run `covey-agent leave` first',
    });
  }
  const token = config.token === '-' ? await readStandardInput() : config.token;
  const identity = await joinAny(words, token);
  await writeIdentity(path, identity);
  say(`this host is now node ${identity.id}\n`);
}

/** The first manager that answers; a wrong token is told at once. */
async function joinAny(addresses: readonly string[], token: string): ReturnType<typeof joinCluster> {
  const signal = stopSignal();
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await joinCluster({ token, address, hostname: hostname() }, signal);
    } catch (cause) {
      failure = cause;
      if (toClusterError(cause).code !== 'unavailable') break;
    }
  }
  throw failure;
}

async function runLeave(sources: ConfigSources): Promise<void> {
  const { config, help, words } = loadConfig(LEAVE_SETTINGS, sources);
  if (help) return say(helpText('covey-agent', USAGE, LEAVE_SETTINGS));
  refuse(words);
  const stateDir = config['state-dir'];
  const signal = stopSignal();
  const release = await takeDirectory(stateDir, systemClock, signal);
  let parts: HostParts | undefined;
  const open = async () => {
    parts = await hostParts(config, signal);
    return parts;
  };
  const id = await leave({ stateDir, address: config.address, force: config.force, open }, signal);
  parts?.runtime.close();
  release();
  const next = id === undefined ? '' : `; remove it for good with: covey node rm ${id}`;
  say(`this host has left the cluster${next}\n`);
}

async function readStandardInput(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  return text.trim();
}

async function tellSystemd(message: string, log: Log): Promise<void> {
  const socket = process.env.NOTIFY_SOCKET;
  if (socket === undefined || socket === '') return;
  try {
    await native().notify(socket, message);
  } catch (cause) {
    log.warn({ cause, message }, 'systemd was not told');
  }
}

function refuse(words: readonly string[]): void {
  if (words.length === 0) return;
  throw new ClusterError('invalid', `"${words.join(' ')}" is not understood`, { hint: `covey-agent ${USAGE}` });
}

function say(text: string): void {
  process.stdout.write(text);
}

main(process.argv.slice(2)).then(
  () => process.exit(process.exitCode ?? 0),
  (cause: unknown) => {
    const error = toClusterError(cause);
    process.stderr.write(`covey-agent: ${explain(error)}\n`);
    process.exit(error.code === 'invalid' ? EXIT.usage : EXIT.error);
  },
);
