/** The flags of `service create` and `service update` as tables, and what each does to a spec. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import {
  DEFAULT_DRAIN_MS,
  DEFAULT_HEALTH,
  DEFAULT_MONITOR_MS,
  DEFAULT_RESTART,
  DEFAULT_START_TIMEOUT_MS,
  DEFAULT_STOP_GRACE_MS,
  DEFAULT_UPDATE,
  type HealthCheck,
  type RestartCondition,
  type ServiceSpec,
} from '../../common/model/service.ts';
import { parseBytes, parseCpus, parseDuration } from '../../common/units.ts';
import { LIMIT_FLAGS } from './limit-flags.ts';
import { addSwitch } from './switch.ts';
import { ratio, wholeNumber, word, words } from './values.ts';

type Mutable<T> = T extends string | number | boolean
  ? T
  : T extends readonly (infer Item)[]
    ? Mutable<Item>[]
    : T extends object
      ? { -readonly [K in keyof T]: Mutable<T[K]> }
      : T;

/** A spec under construction. */
export type Draft = Mutable<ServiceSpec>;

export interface ValueFlag {
  /** As the user types it, without the dashes. */
  readonly flag: string;
  readonly argument: string;
  readonly help: string;
  readonly apply: (draft: Draft, text: string, flag: string) => void;
}

type Parse<T> = (text: string, flag: string) => T;
const asText: Parse<string> = (text) => text;

/** Makes flags that set one field of a part of the spec. `declaration` is `name <argument>`. */
function into<Part>(part: (draft: Draft) => Part) {
  return <K extends keyof Part>(declaration: string, help: string, key: K, parse: Parse<Part[K]>): ValueFlag => ({
    ...declared(declaration),
    help,
    apply: (draft, text, flag) => {
      part(draft)[key] = parse(text, flag);
    },
  });
}

function declared(declaration: string): { flag: string; argument: string } {
  const [flag = '', argument = ''] = declaration.split(' ');
  return { flag, argument };
}

/** A copy of a spec to change. */
export function draftOf(spec: ServiceSpec): Draft {
  return structuredClone(spec) as Draft;
}

/** The spec of a service about which nothing was said but its image. */
export function emptySpec(image: string): ServiceSpec {
  return {
    name: '',
    labels: {},
    template: {
      container: {
        image,
        env: [],
        labels: {},
        readOnly: false,
        stopGraceMs: DEFAULT_STOP_GRACE_MS,
        health: { kind: 'image' },
        startTimeoutMs: DEFAULT_START_TIMEOUT_MS,
        drainMs: DEFAULT_DRAIN_MS,
      },
      limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
      reservations: { nanoCpus: 0, memoryBytes: 0 },
      restart: DEFAULT_RESTART,
      placement: { constraints: [], maxReplicasPerNode: 0 },
      forceUpdate: 0,
    },
    mode: { kind: 'replicated', replicas: 1 },
    update: DEFAULT_UPDATE,
    rollback: DEFAULT_UPDATE,
    ports: [],
  };
}

const spec = into((draft) => draft);
const mode = into((draft) => draft.mode);
const placement = into((draft) => draft.template.placement);
const limits = into((draft) => draft.template.limits);
const reservations = into((draft) => draft.template.reservations);
const restart = into((draft) => draft.template.restart);
const container = into((draft) => draft.template.container);

const monitor: Parse<number> = (text, flag) => parseDuration(text, flag) || DEFAULT_MONITOR_MS;

function policyFlags(name: 'update' | 'rollback'): readonly ValueFlag[] {
  const set = into((draft) => draft[name]);
  const actions = name === 'update' ? (['pause', 'continue', 'rollback'] as const) : (['pause', 'continue'] as const);
  const action = (text: string, flag: string) => word(text, actions, flag);
  const order = (text: string, flag: string) => word(text, ['stop-first', 'start-first'], flag);
  return [
    set(`${name}-parallelism <n>`, `tasks to ${name} at once; 0: all`, 'parallelism', wholeNumber),
    set(`${name}-delay <duration>`, 'pause after each task', 'delayMs', parseDuration),
    set(`${name}-failure-action <action>`, `on failure: ${actions.join(', ')}`, 'failureAction', action),
    set(`${name}-monitor <duration>`, 'a new task must hold out so long', 'monitorMs', monitor),
    set(`${name}-max-failure-ratio <ratio>`, 'failures to tolerate, 0 to 1', 'maxFailureRatio', ratio),
    set(`${name}-order <order>`, 'stop-first or start-first', 'order', order),
    set(
      `${name}-progress-deadline <duration>`,
      'without progress for so long the failure action fires',
      'progressDeadlineMs',
      parseDuration,
    ),
  ];
}

function health(declaration: string, help: string, key: keyof HealthCheck, parse: Parse<number>): ValueFlag {
  const apply = (draft: Draft, text: string, flag: string) => refineHealth(draft, { [key]: parse(text, flag) }, flag);
  return { ...declared(declaration), help, apply };
}

const condition: Parse<RestartCondition> = (text, flag) => word(text, ['none', 'on-failure', 'any'], flag);

/** Flags with one value that create and update share. Order matters: `health-cmd` comes before what refines it. */
const VALUE_FLAGS: readonly ValueFlag[] = [
  mode('replicas <n>', 'number of tasks', 'replicas', wholeNumber),
  placement('replicas-max-per-node <n>', 'at most so many on a node; 0: no limit', 'maxReplicasPerNode', wholeNumber),
  limits('limit-cpu <cpus>', 'CPU ceiling', 'nanoCpus', parseCpus),
  limits('limit-memory <bytes>', 'memory ceiling', 'memoryBytes', parseBytes),
  limits('limit-pids <n>', 'process ceiling; 0: none', 'pids', wholeNumber),
  ...LIMIT_FLAGS,
  reservations('reserve-cpu <cpus>', 'CPU the scheduler sets aside', 'nanoCpus', parseCpus),
  reservations('reserve-memory <bytes>', 'memory the scheduler sets aside', 'memoryBytes', parseBytes),
  restart('restart-condition <condition>', 'none, on-failure or any', 'condition', condition),
  restart('restart-delay <duration>', 'pause before a restart', 'delayMs', parseDuration),
  restart('restart-max-attempts <n>', 'restarts before giving up; 0: no limit', 'maxAttempts', wholeNumber),
  restart('restart-window <duration>', 'restarts count inside this window; 0: always', 'windowMs', parseDuration),
  ...policyFlags('update'),
  ...policyFlags('rollback'),
  container('stop-signal <signal>', 'signal that asks the container to stop', 'stopSignal', asText),
  container('stop-grace-period <duration>', 'time until it is killed', 'stopGraceMs', parseDuration),
  container('start-timeout <duration>', 'time from exec to ready', 'startTimeoutMs', parseDuration),
  container('drain <duration>', 'open connections of a leaving task may last so long', 'drainMs', parseDuration),
  spec(
    'failover-after <duration>',
    "silence of a node after which this service's tasks move",
    'failoverAfterMs',
    parseDuration,
  ),
  {
    ...declared('health-cmd <command>'),
    help: 'command that checks the health',
    apply: (draft, text) => setHealth(draft, { test: ['CMD-SHELL', text] }),
  },
  health('health-interval <duration>', 'time between checks', 'intervalMs', parseDuration),
  health('health-timeout <duration>', 'limit of one check', 'timeoutMs', parseDuration),
  health('health-retries <n>', 'failures in a row that make it unhealthy', 'retries', wholeNumber),
  health('health-start-period <duration>', 'failures in it do not count', 'startPeriodMs', parseDuration),
  health(
    'health-start-interval <duration>',
    'time between checks in the start period',
    'startIntervalMs',
    parseDuration,
  ),
  container('user <user>', 'name or uid, with :group or :gid', 'user', asText),
  container('workdir <path>', 'working directory', 'workdir', asText),
  container('entrypoint <command>', "replaces the image's entrypoint", 'entrypoint', words),
  container('hostname <name>', 'host name of the container', 'hostname', asText),
  { ...declared('userns <mode>'), help: "host: its root is the host's root", apply: setUserns },
  { ...declared('log-driver <driver>'), help: 'how output is kept: local, json-file or none', apply: setLogDriver },
];

const SHORT: Readonly<Record<string, string>> = { user: '-u, ', workdir: '-w, ' };

/** An empty one is the default again: a user namespace of its own. */
function setUserns(draft: Draft, text: string, flag: string): void {
  const mode = word(text, ['host', ''], flag);
  if (mode === '') delete draft.template.container.userns;
  else draft.template.container.userns = mode;
}

/** Another driver begins without options; an empty one is the default again. */
function setLogDriver(draft: Draft, driver: string): void {
  if (driver === '') delete draft.template.container.log;
  else draft.template.container.log = { driver, options: {} };
}

function setHealth(draft: Draft, part: Partial<HealthCheck>): void {
  const health = draft.template.container.health;
  const before = health.kind === 'command' ? health.check : { ...DEFAULT_HEALTH, test: [] };
  draft.template.container.health = { kind: 'command', check: { ...before, ...part } as Mutable<HealthCheck> };
}

function refineHealth(draft: Draft, part: Partial<HealthCheck>, flag: string): void {
  if (draft.template.container.health.kind !== 'command') {
    throw new ClusterError('invalid', 'there is no health command of the service to refine', {
      field: flag,
      hint: 'add --health-cmd',
    });
  }
  setHealth(draft, part);
}

/** Declares the shared flags on a command. */
export function addSharedFlags(command: Command): void {
  for (const { flag, argument, help } of VALUE_FLAGS) command.option(`${SHORT[flag] ?? ''}--${flag} ${argument}`, help);
  addSwitch(command, '--read-only', 'root file system is read-only');
  addSwitch(command, '-t, --tty', 'give the command a terminal');
  command
    .option('--no-healthcheck', 'probe neither command nor port')
    .option('-d, --detach', 'return at once instead of waiting until it has converged')
    .option('-q, --quiet', 'no progress')
    .option('--timeout <duration>', 'wait at most so long, then exit 4');
}

/** Applies what was given of the shared flags. */
export function applySharedFlags(draft: Draft, given: Readonly<Record<string, unknown>>): void {
  if (given.healthcheck === false) {
    if (given.healthCmd !== undefined) {
      throw new ClusterError('invalid', 'cannot be combined with --health-cmd', { field: '--no-healthcheck' });
    }
    draft.template.container.health = { kind: 'none' };
  }
  for (const { flag, apply } of VALUE_FLAGS) {
    const text = given[camel(flag)];
    if (typeof text === 'string') apply(draft, text, `--${flag}`);
  }
  const readOnly = switched(given.readOnly, '--read-only');
  if (readOnly !== undefined) draft.template.container.readOnly = readOnly;
  const tty = switched(given.tty, '--tty');
  if (tty === true) draft.template.container.tty = true;
  if (tty === false) delete draft.template.container.tty;
}

/** A flag that may stand alone or with `true` or `false`; undefined when it was not given. */
function switched(given: unknown, flag: string): boolean | undefined {
  if (given === undefined || given === true) return given;
  return word(String(given), ['true', 'false'], flag) === 'true';
}

/** commander's key of a flag. */
export function camel(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
