/** Image config files, whole: read for a base image, written for a built one. */
import type { Digest, Instant } from '../../common/model/ids.ts';
import { ImageJson } from '../../common/oci/json.ts';
import type { BuildConfig, BuiltImage, HistoryEntry, ImageHealth } from './dockerfile/build-config.ts';

/** An image config as a file. */
export interface ImageFile extends BuiltImage {
  readonly os: string;
  /** Go's name. */
  readonly arch: string;
  readonly at: Instant;
  /** Digests of the layers' uncompressed tars, lowest first. */
  readonly diffIds: readonly Digest[];
}

/** Longer lists in a config are somebody's mistake, as in common/oci/config.ts. */
const LIST_MAX = 4_096;

/**
 * Reads a base image's config file.
 *
 * @param name  what errors call it
 * @throws ClusterError `invalid` naming the field
 */
export function readBase(text: string, name: string): BuiltImage {
  const file = ImageJson.parse(text, name);
  const config = file.has('config') ? file.object('config') : file.empty('config');
  const history = file.has('history') ? file.list('history', LIST_MAX).map(historyEntry) : [];
  return { config: configOf(config), history, author: file.text('author', '') };
}

function configOf(config: ImageJson): BuildConfig {
  const texts = (field: string): readonly string[] =>
    config.has(field) ? config.list(field, LIST_MAX).map((each) => each.asText()) : [];
  const keys = (field: string): readonly string[] => (config.has(field) ? config.object(field).keys().toSorted() : []);
  return {
    user: config.text('User', ''),
    exposedPorts: keys('ExposedPorts'),
    env: texts('Env'),
    entrypoint: texts('Entrypoint'),
    cmd: texts('Cmd'),
    volumes: keys('Volumes'),
    workdir: config.text('WorkingDir', ''),
    labels: config.has('Labels') ? config.object('Labels').texts() : {},
    stopSignal: config.text('StopSignal', ''),
    ...(config.has('Healthcheck') ? { health: healthOf(config.object('Healthcheck')) } : {}),
    onBuild: texts('OnBuild'),
    shell: texts('Shell'),
  };
}

function healthOf(rule: ImageJson): ImageHealth {
  const ms = (field: string): number => rule.number(field, 0) / NANOS_PER_MS;
  const times = {
    intervalMs: ms('Interval'),
    timeoutMs: ms('Timeout'),
    startPeriodMs: ms('StartPeriod'),
    startIntervalMs: ms('StartInterval'),
    retries: rule.number('Retries', 0),
  };
  const said = Object.fromEntries(Object.entries(times).filter(([, value]) => value !== 0));
  const test = rule.has('Test') ? rule.list('Test', LIST_MAX).map((each) => each.asText()) : [];
  return { test, ...said };
}

function historyEntry(entry: ImageJson): HistoryEntry {
  const at = Date.parse(entry.text('created', ''));
  return {
    at: Number.isNaN(at) ? 0 : at,
    createdBy: entry.text('created_by', ''),
    comment: entry.text('comment', ''),
    author: entry.text('author', ''),
    emptyLayer: entry.flag('empty_layer'),
  };
}

const NANOS_PER_MS = 1e6;

/** The config file's bytes: same image, same bytes. Fields come in the specification's order; empty ones are left out. */
export function imageFileText(image: ImageFile): string {
  const { config } = image;
  return JSON.stringify({
    created: timeText(image.at),
    author: orNothing(image.author),
    architecture: image.arch,
    os: image.os,
    config: {
      User: orNothing(config.user),
      ExposedPorts: setOf(config.exposedPorts),
      Env: orNothing(config.env),
      Entrypoint: orNothing(config.entrypoint),
      Cmd: orNothing(config.cmd),
      Volumes: setOf(config.volumes),
      WorkingDir: orNothing(config.workdir),
      Labels: sorted(config.labels),
      StopSignal: orNothing(config.stopSignal),
      Healthcheck: config.health === undefined ? undefined : healthJson(config.health),
      OnBuild: orNothing(config.onBuild),
      Shell: orNothing(config.shell),
    },
    rootfs: { type: 'layers', diff_ids: image.diffIds },
    history: image.history.map((entry) => ({
      created: timeText(entry.at),
      created_by: orNothing(entry.createdBy),
      author: orNothing(entry.author),
      comment: orNothing(entry.comment),
      empty_layer: entry.emptyLayer ? true : undefined,
    })),
  });
}

function orNothing<Value extends string | readonly string[]>(value: Value): Value | undefined {
  return value.length === 0 ? undefined : value;
}

function setOf(keys: readonly string[]): Readonly<Record<string, object>> | undefined {
  return keys.length === 0 ? undefined : Object.fromEntries(keys.map((key) => [key, {}]));
}

function sorted(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> | undefined {
  const entries = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function healthJson(health: ImageHealth): object {
  const nanos = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms * NANOS_PER_MS);
  return {
    Test: health.test,
    Interval: nanos(health.intervalMs),
    Timeout: nanos(health.timeoutMs),
    StartPeriod: nanos(health.startPeriodMs),
    StartInterval: nanos(health.startIntervalMs),
    Retries: health.retries,
  };
}

/** RFC 3339, as Go writes times: whole seconds without a fraction. */
function timeText(at: Instant): string {
  return new Date(at).toISOString().replace('.000Z', 'Z');
}
