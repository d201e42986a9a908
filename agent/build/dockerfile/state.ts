/** What the steps of a stage have come to so far: the image's config and history, and the ARGs in force. Steps only add to it. */

import { joinPath } from '../../../common/context/paths.ts';
import type { Instant } from '../../../common/model/ids.ts';
import {
  type BuildConfig,
  type BuiltImage,
  DEFAULT_PATH,
  type HistoryEntry,
  type ImageHealth,
  SCRATCH,
} from './build-config.ts';
import type { BuildHealth, Command, Mode, Pair, ReadyStep } from './steps.ts';

export interface StageState extends BuiltImage {
  /** Declared in this stage or in those it is built on, in order of declaration; undefined = declared without a value. */
  readonly args: ReadonlyMap<string, string | undefined>;
  /** True once this stage has had a CMD: an ENTRYPOINT after it keeps it. */
  readonly cmdSet: boolean;
}

/** The shell of RUN and of commands in shell form, until SHELL says otherwise. */
export const DEFAULT_SHELL: readonly string[] = ['/bin/sh', '-c'];

/** The state before a stage's first step. `base` is `scratch`, an image, or the end of an earlier stage, whose ARGs stay in force. */
export function beginStage(base: 'scratch' | BuiltImage | StageState): StageState {
  if (base === 'scratch') return { ...SCRATCH, args: new Map(), cmdSet: false };
  const { config, history, author } = base;
  // Triggers belong to the image that was built with them; they run now and are not handed on.
  const args = 'args' in base ? base.args : new Map<string, string>();
  return { config: { ...config, onBuild: [] }, history, author, args, cmdSet: false };
}

/** The words that are executed. */
export function argvOf(command: Command, config: BuildConfig): readonly string[] {
  return command.form === 'exec' ? command.argv : [...shellOf(config), command.line];
}

/** The environment of a RUN: the image's, then the ARGs in force, which lose against it; PATH always. */
export function runEnv(config: BuildConfig, args: readonly string[]): readonly string[] {
  const names = new Set(config.env.map(nameOf));
  const env = [...config.env, ...args.filter((entry) => !names.has(nameOf(entry)))];
  return env.some((entry) => nameOf(entry) === 'PATH') ? env : [DEFAULT_PATH, ...env];
}

/**
 * The state after a step.
 *
 * @param at  when it was done, already clamped by `clampedTo` where the build has a SOURCE_DATE_EPOCH
 */
export function applyStep(state: StageState, step: ReadyStep, at: Instant): StageState {
  const config = nextConfig(state, step);
  const author = step.kind === 'maintainer' ? step.name : state.author;
  const entry: HistoryEntry = {
    at,
    createdBy: historyText(state.config, config, step),
    comment: 'covey build',
    author,
    emptyLayer: !hasLayer(step),
  };
  const args = step.kind === 'arg' ? new Map([...state.args, ...step.args.map(argEntry)]) : state.args;
  const cmdSet = state.cmdSet || step.kind === 'cmd';
  return { config, history: [...state.history, entry], author, args, cmdSet };
}

/** No file, history entry or image of a reproducible build is younger than its SOURCE_DATE_EPOCH. */
export function clampedTo(at: Instant, epochMs: Instant | undefined): Instant {
  return epochMs === undefined ? at : Math.min(at, epochMs);
}

/** True for steps whose files become a layer, also when nothing has changed. */
export function hasLayer(step: ReadyStep): boolean {
  return step.kind === 'run' || step.kind === 'copy' || step.kind === 'add' || step.kind === 'workdir';
}

/** The folder that a WORKDIR leads to from the one before. */
export function workdirAfter(config: BuildConfig, path: string): string {
  return joinPath(config.workdir === '' ? '/' : config.workdir, path);
}

function argEntry(arg: { readonly name: string; readonly value?: string }): [string, string | undefined] {
  return [arg.name, arg.value];
}

function nextConfig({ config, cmdSet }: StageState, step: ReadyStep): BuildConfig {
  switch (step.kind) {
    case 'run':
    case 'copy':
    case 'add':
    case 'arg':
    case 'maintainer':
      return config;
    case 'workdir':
      return { ...config, workdir: workdirAfter(config, step.path) };
    case 'env':
      return { ...config, env: withEnv(config.env, step.pairs) };
    case 'label':
      return {
        ...config,
        labels: { ...config.labels, ...Object.fromEntries(step.pairs.map((pair) => [pair.name, pair.value])) },
      };
    case 'user':
      return { ...config, user: step.user };
    case 'expose':
      return { ...config, exposedPorts: union(config.exposedPorts, step.ports) };
    case 'volume':
      return { ...config, volumes: union(config.volumes, step.paths) };
    case 'cmd':
      return { ...config, cmd: argvOf(step.command, config) };
    case 'entrypoint':
      // A CMD of the base image was made for another entry point. Source: BuildKit, dispatchEntrypoint.
      return { ...config, entrypoint: argvOf(step.command, config), cmd: cmdSet ? config.cmd : [] };
    case 'healthcheck':
      return { ...config, health: imageHealth(step.check) };
    case 'shell':
      return { ...config, shell: step.argv };
    case 'stopsignal':
      return { ...config, stopSignal: step.signal };
    case 'onbuild':
      return { ...config, onBuild: [...config.onBuild, step.trigger] };
  }
}

function withEnv(env: readonly string[], pairs: readonly Pair[]): readonly string[] {
  const byName = new Map(env.map((entry) => [nameOf(entry), entry]));
  for (const { name, value } of pairs) byName.set(name, `${name}=${value}`);
  return [...byName.values()];
}

function nameOf(entry: string): string {
  const at = entry.indexOf('=');
  return at === -1 ? entry : entry.slice(0, at);
}

function union(a: readonly string[], b: readonly string[]): readonly string[] {
  return [...new Set([...a, ...b])].toSorted();
}

function imageHealth(check: BuildHealth): ImageHealth {
  if (check.kind === 'none') return { test: ['NONE'] };
  const { kind: _, command, ...times } = check;
  if (command.form === 'exec') return { test: ['CMD', ...command.argv], ...times };
  return { test: ['CMD-SHELL', command.line], ...times };
}

function shellOf(config: BuildConfig): readonly string[] {
  return config.shell.length === 0 ? DEFAULT_SHELL : config.shell;
}

/** As Docker's builder writes them into `history`. Source: BuildKit, frontend/dockerfile/dockerfile2llb, commitToHistory. */
function historyText(before: BuildConfig, after: BuildConfig, step: ReadyStep): string {
  switch (step.kind) {
    case 'run': {
      const args = step.args.length === 0 ? [] : [`|${step.args.length}`, ...step.args];
      return ['RUN', ...args, ...argvOf(step.command, before)].join(' ');
    }
    case 'copy':
    case 'add':
      return transferText(step);
    case 'workdir':
      return `WORKDIR ${after.workdir}`;
    case 'arg':
      return `ARG ${step.args.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`)).join(' ')}`;
    case 'env':
    case 'label':
      return `${step.kind.toUpperCase()} ${step.pairs.map(({ name, value }) => `${name}=${value}`).join(' ')}`;
    case 'user':
      return `USER ${step.user}`;
    case 'expose':
      return `EXPOSE [${step.ports.join(' ')}]`;
    case 'volume':
      return `VOLUME [${step.paths.join(' ')}]`;
    case 'cmd':
      return `CMD ${goList(after.cmd)}`;
    case 'entrypoint':
      return `ENTRYPOINT ${goList(after.entrypoint)}`;
    case 'healthcheck':
      return `HEALTHCHECK ${goList(after.health?.test ?? [])}`;
    case 'shell':
      return `SHELL [${step.argv.join(' ')}]`;
    case 'stopsignal':
      return `STOPSIGNAL ${step.signal}`;
    case 'onbuild':
      return `ONBUILD ${step.trigger}`;
    case 'maintainer':
      return `MAINTAINER ${step.name}`;
  }
}

function transferText(step: Extract<ReadyStep, { readonly kind: 'copy' | 'add' }>): string {
  const flags = [
    ...(step.chown === undefined ? [] : [`--chown=${step.chown}`]),
    ...(step.chmod === undefined ? [] : [`--chmod=${modeText(step.chmod)}`]),
    ...(step.link ? ['--link'] : []),
  ];
  const sources = [
    ...step.sources,
    ...(step.kind === 'add' ? step.urls : []),
    ...step.documents.map(({ name }) => `<<${name}`),
  ];
  return [step.kind.toUpperCase(), ...flags, ...sources, step.dest].join(' ');
}

function modeText(mode: Mode): string {
  return mode.kind === 'octal' ? mode.mode.toString(8).padStart(4, '0') : mode.text;
}

/** Go's `%q` of a list: `["/bin/sh" "-c"]`. */
function goList(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(' ')}]`;
}
