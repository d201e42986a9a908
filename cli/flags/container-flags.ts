/** The flags of `run` and `create`, and what they make of a container. Docker's names; what the core lacks is in refused.ts. */
import { type Command, Option } from 'commander';
import type { ContainerNetwork, ContainerRestart, ContainerSpec } from '../../common/model/container.ts';
import { DETACH_KEYS } from '../detach-keys.ts';
import { mountsOf } from './mount-flags.ts';
import { addProcessFlags } from './process-flags.ts';
import { randomName } from './random-name.ts';
import { createSpec, type Given } from './service-edits.ts';
import { addSwitch } from './switch.ts';
import { collected, refuse, wholeNumber, word } from './values.ts';

const VALUES: readonly (readonly [flag: string, help: string])[] = [
  ['--node <node>', 'run it on this node; the manager chooses one otherwise'],
  ['--name <name>', 'name; one is made up otherwise'],
  ['-w, --workdir <path>', 'working directory'],
  ['-u, --user <name|uid[:group|gid]>', 'run as this user'],
  ['-h, --hostname <name>', 'host name; the id’s beginning otherwise'],
  ['--entrypoint <command>', "replaces the image's entrypoint; empty: none"],
  ['--network <network>', 'cluster (an address of its node), host or none'],
  ['-m, --memory <bytes>', 'memory ceiling'],
  ['--memory-swap <bytes>', 'ceiling of memory and swap together; -1: no limit'],
  ['--memory-swappiness <n>', '0 to 100, on cgroup v1'],
  ['--cpus <cpus>', 'CPU ceiling'],
  ['--pids-limit <n>', 'process ceiling'],
  ['--storage-opt <option>', 'size=BYTES: what it may write into its root file system'],
  ['--network-rate <rate>', 'bits a second, such as 20mbit'],
  ['--restart <policy>', 'no, on-failure[:n], always or unless-stopped'],
  ['--stop-signal <signal>', 'signal that asks it to stop'],
  ['--stop-timeout <seconds>', 'time until it is killed'],
  ['--health-cmd <command>', 'command that checks the health'],
  ['--health-interval <duration>', 'time between checks'],
  ['--health-timeout <duration>', 'limit of one check'],
  ['--health-retries <n>', 'failures in a row that make it unhealthy'],
  ['--health-start-period <duration>', 'failures in it do not count'],
  ['--health-start-interval <duration>', 'time between checks in the start period'],
  ['--userns <mode>', "host: its root is the host's root"],
  ['--log-driver <driver>', 'local, json-file or none'],
  ['--pull <when>', 'always, missing or never: bring the image from its registry'],
  ['--cidfile <file>', 'write the id to this file'],
];

const LISTS: readonly (readonly [flag: string, help: string])[] = [
  ['-e, --env <KEY=value>', 'set a variable; KEY alone takes our value'],
  ['--env-file <file>', 'set the variables in this file'],
  ['-l, --label <key=value>', 'label'],
  ['-p, --publish <port>', '[published:]target[/protocol] on its node'],
  ['-v, --volume <volume>', 'NAME:/path, /host/path:/path[:ro], or /path'],
  ['--mount <mount>', 'type=bind|volume|tmpfs,source=…,target=…[,readonly]'],
  ['--tmpfs <path[:options]>', 'memory instead of files'],
  ['--device <device>', 'of its node: SOURCE[:TARGET][:rwm]'],
  ['--cap-add <capability>', 'give a capability, or ALL'],
  ['--cap-drop <capability>', 'take a capability away, or ALL'],
  ['--security-opt <option>', 'no-new-privileges, seccomp=…, apparmor=…, selinux=…'],
  ['--group-add <group>', 'one more group of its user'],
  ['--sysctl <name=value>', 'kernel setting of its own namespaces'],
  ['--ulimit <name=soft[:hard]>', 'resource limit'],
  ['--log-opt <key=value>', 'max-size, max-file, compress, mode, max-buffer-size'],
];

/** What a run is about besides the container. */
export interface RunWish {
  readonly node: string;
  readonly spec: ContainerSpec;
  /** The name was made up: another does as well. */
  readonly isNameless: boolean;
  readonly pull: 'always' | 'missing' | 'never';
  readonly cidfile: string | undefined;
  readonly detach: boolean;
  readonly interactive: boolean;
  readonly tty: boolean;
  readonly detachKeys: string;
  readonly sigProxy: boolean;
}

/** Declares what both commands share. */
export function addContainerFlags(command: Command): void {
  command.helpOption('--help', 'display help for command');
  for (const [flag, help] of VALUES) command.option(flag, help);
  for (const [flag, help] of LISTS) command.addOption(new Option(flag, help).argParser(collected).default([]));
  addSwitch(command, '-i, --interactive', 'give it our stdin');
  addSwitch(command, '-t, --tty', 'give it a terminal');
  addSwitch(command, '--rm', 'remove it after its end');
  addSwitch(command, '--read-only', 'root file system is read-only');
  addProcessFlags(command);
  command.option('--no-healthcheck', 'run no health command of the image');
}

/** Declares what `run` has besides. */
export function addRunFlags(command: Command): void {
  addSwitch(command, '-d, --detach', 'start it and print its id');
  command
    .option('--detach-keys <keys>', 'keys that leave it running', DETACH_KEYS)
    .option('--no-sig-proxy', 'do not pass signals on to it');
}

/** @throws ClusterError `invalid` naming the flag */
export function runWish(image: string, args: readonly string[], given: Given, env: NodeJS.ProcessEnv): RunWish {
  const detach = given.detach === true;
  const interactive = given.interactive === true;
  const { restart, restartMax } = restartOf(text(given, 'restart') ?? 'no');
  const name = text(given, 'name') ?? randomName();
  const { template, ports } = createSpec(image, args, asService(given, name), env);
  const entrypoint = text(given, 'entrypoint');
  const container = {
    ...template.container,
    ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
  };
  const spec: ContainerSpec = {
    name,
    template: { ...template, container },
    ports: ports.map((port) => ({ ...port, mode: 'host' })),
    network: networkOf(text(given, 'network') ?? 'cluster'),
    ...(interactive ? { input: detach ? 'kept' : 'once' } : {}),
    ...mountsOf(given),
    autoRemove: given.rm === true,
    restart,
    restartMax,
  };
  return {
    node: text(given, 'node') ?? '',
    spec,
    isNameless: given.name === undefined,
    pull: word(text(given, 'pull') ?? 'missing', ['always', 'missing', 'never'], '--pull'),
    cidfile: text(given, 'cidfile'),
    detach,
    interactive,
    tty: given.tty === true,
    detachKeys: text(given, 'detachKeys') ?? DETACH_KEYS,
    sigProxy: given.sigProxy !== false,
  };
}

/** `on-failure:3` and its like. @throws ClusterError `invalid` */
export function restartOf(policy: string): { readonly restart: ContainerRestart; readonly restartMax: number } {
  const [name = '', count, ...rest] = policy.split(':');
  if (rest.length > 0) refuse('--restart', `"${policy}" is no restart policy`);
  const restart = word(name, ['no', 'on-failure', 'always', 'unless-stopped'], '--restart');
  if (count !== undefined && restart !== 'on-failure') {
    refuse('--restart', `maximum retry count cannot be used with restart policy "${restart}"`, 'use on-failure:N');
  }
  return { restart, restartMax: count === undefined ? 0 : wholeNumber(count, '--restart') };
}

/** Docker's own default network is ours. */
function networkOf(name: string): ContainerNetwork {
  return word(name === 'bridge' || name === 'default' ? 'cluster' : name, ['cluster', 'host', 'none'], '--network');
}

/** The same flags under the names that services have them by. */
function asService(given: Given, name: string): Given {
  const { memory, cpus, pidsLimit, groupAdd, label, stopTimeout, entrypoint: _own, restart: _other, ...same } = given;
  const pids = pidsLimit === '-1' ? '0' : pidsLimit;
  return {
    ...same,
    name,
    ...(memory === undefined ? {} : { limitMemory: memory }),
    ...(cpus === undefined ? {} : { limitCpu: cpus }),
    ...(pids === undefined ? {} : { limitPids: pids }),
    ...(groupAdd === undefined ? {} : { group: groupAdd }),
    ...(stopTimeout === undefined ? {} : { stopGracePeriod: `${wholeNumber(String(stopTimeout), '--stop-timeout')}s` }),
    containerLabel: label,
    label: [],
    publish: given.publish,
  };
}

function text(given: Given, key: string): string | undefined {
  const value = given[key];
  return typeof value === 'string' ? value : undefined;
}
