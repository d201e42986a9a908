/** What an image says of the containers made from it, and the door its config JSON comes through. */
import type { Digest } from '../model/ids.ts';
import type { HealthCheck, Labels, Protocol } from '../model/service.ts';
import { DEFAULT_HEALTH } from '../model/service.ts';
import { ImageJson } from './json.ts';

/** A port the image says it listens on. Information only: nothing is published by it. */
export interface ExposedPort {
  /** 1–65535 */
  readonly port: number;
  readonly protocol: Protocol;
}

/** The defaults of a container; empty text or list = the image says nothing. Source: OCI image-spec, config.md, "config". */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `KEY=value` */
  readonly env: readonly string[];
  /** Empty = `/`. */
  readonly workdir: string;
  /** `name|uid[:group|gid]`; empty = root. */
  readonly user: string;
  /** With or without `SIG`, or a number as text; empty = SIGTERM. */
  readonly stopSignal: string;
  /** In order of number, then protocol. */
  readonly exposedPorts: readonly ExposedPort[];
  readonly labels: Labels;
  /** Folders that containers get a volume for, absolute; absent = none. */
  readonly volumes?: readonly string[];
  /** Docker's HEALTHCHECK with its defaults filled in; absent = none. */
  readonly health?: HealthCheck;
}

/** A whole image config file. */
export interface ConfigFile {
  readonly os: string;
  /** Go's name, as `amd64`. */
  readonly arch: string;
  /** Of the architecture, as `v7`; absent = the usual one. */
  readonly variant?: string;
  /** Digests of the layers' uncompressed tars, lowest first. */
  readonly diffIds: readonly Digest[];
  readonly config: ImageConfig;
}

/** More layers than Docker makes (127) or overlayfs mounts (500) are somebody's mistake. */
export const LAYERS_MAX = 128;
/** Longer lists or texts in a config are refused: the whole config travels to the kernel as one container's start. */
const LIST_MAX = 4_096;

/**
 * Reads an image config.
 *
 * @param name  what errors call it, such as `config sha256:… of image "web:1"`
 * @throws ClusterError `invalid` naming the field
 * Source: OCI image-spec, config.md; Docker image spec v1.2 for `Healthcheck`.
 */
export function parseConfig(text: string, name: string): ConfigFile {
  const file = ImageJson.parse(text, name);
  const rootfs = file.object('rootfs');
  const diffIds = rootfs.list('diff_ids', LAYERS_MAX).map((each) => each.digest());
  const config = file.has('config') ? file.object('config') : file.empty('config');
  return {
    os: file.text('os'),
    arch: file.text('architecture'),
    ...(file.text('variant', '') === '' ? {} : { variant: file.text('variant') }),
    diffIds,
    config: {
      entrypoint: texts(config, 'Entrypoint'),
      cmd: texts(config, 'Cmd'),
      env: texts(config, 'Env'),
      workdir: workdir(config),
      user: config.text('User', ''),
      stopSignal: config.text('StopSignal', ''),
      exposedPorts: exposedPorts(config),
      labels: config.has('Labels') ? config.object('Labels').texts() : {},
      ...volumes(config),
      ...health(config),
    },
  };
}

function workdir(config: ImageJson): string {
  const path = config.text('WorkingDir', '');
  if (path === '' || path.startsWith('/')) return path;
  throw config.wrong('WorkingDir', `"${path.slice(0, 100)}" is not absolute`);
}

function texts(config: ImageJson, field: string): readonly string[] {
  return config.has(field) ? config.list(field, LIST_MAX).map((each) => each.asText()) : [];
}

function exposedPorts(config: ImageJson): readonly ExposedPort[] {
  if (!config.has('ExposedPorts')) return [];
  const ports = config
    .object('ExposedPorts')
    .keys()
    .map((key): ExposedPort => {
      const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(key);
      const port = Number(match?.[1] ?? 0);
      if (match === null || port < 1 || port > 65_535) throw config.wrong('ExposedPorts', `"${key}" is no port`);
      return { port, protocol: match[2] === 'udp' ? 'udp' : 'tcp' };
    });
  return ports.toSorted((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol));
}

function volumes(config: ImageJson): { readonly volumes?: readonly string[] } {
  const paths = config.has('Volumes') ? config.object('Volumes').keys() : [];
  const wrong = paths.find((path) => !path.startsWith('/'));
  if (wrong !== undefined) throw config.wrong('Volumes', `"${wrong.slice(0, 100)}" is not absolute`);
  return paths.length === 0 ? {} : { volumes: [...new Set(paths.map(clean))].toSorted() };
}

function clean(path: string): string {
  return path.replace(/\/+/g, '/').replace(/(.)\/$/, '$1');
}

function health(config: ImageJson): { readonly health?: HealthCheck } {
  if (!config.has('Healthcheck')) return {};
  const rule = config.object('Healthcheck');
  const test = texts(rule, 'Test');
  if (test.length === 0 || test[0] === 'NONE') return {};
  const ms = (field: string, standard: number): number => {
    const nanos = rule.number(field, 0);
    return nanos === 0 ? standard : Math.max(1, Math.round(nanos / 1e6));
  };
  return {
    health: {
      test,
      intervalMs: ms('Interval', DEFAULT_HEALTH.intervalMs),
      timeoutMs: ms('Timeout', DEFAULT_HEALTH.timeoutMs),
      retries: rule.number('Retries', 0) || DEFAULT_HEALTH.retries,
      startPeriodMs: ms('StartPeriod', DEFAULT_HEALTH.startPeriodMs),
      startIntervalMs: ms('StartInterval', DEFAULT_HEALTH.startIntervalMs),
    },
  };
}
