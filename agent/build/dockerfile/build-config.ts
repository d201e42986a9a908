/**
 * The config of an image that is being made: comes from a base image's config file (image-file.ts), goes through the steps,
 * becomes a config file again. Unlike common/oci/config.ts, which reads what a container needs, nothing an image says is lost.
 */
import type { Instant } from '../../../common/model/ids.ts';
import type { HealthCheck } from '../../../common/model/service.ts';

/** Docker's checks keep what was said only; an absent time or number is the engine's default. */
export type ImageHealth = Pick<HealthCheck, 'test'> & Partial<Omit<HealthCheck, 'test'>>;

/** Empty text or list = the image says nothing. Source: OCI image-spec, config.md; Docker image spec v1.2 for the last four. */
export interface BuildConfig {
  readonly user: string;
  /** `80/tcp`, sorted by text and unique, as the file's keys are. */
  readonly exposedPorts: readonly string[];
  /** `NAME=value`, each name once, in order of first setting. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** Sorted by text and unique. */
  readonly volumes: readonly string[];
  /** Absolute, or empty. */
  readonly workdir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly stopSignal: string;
  /** Absent = nothing said; the test `['NONE']` = said that there is none. */
  readonly health?: ImageHealth;
  readonly onBuild: readonly string[];
  readonly shell: readonly string[];
}

/** One line of `covey image history`. */
export interface HistoryEntry {
  readonly at: Instant;
  readonly createdBy: string;
  readonly comment: string;
  readonly author: string;
  /** True when no layer came of it. */
  readonly emptyLayer: boolean;
}

/** An image that a stage starts from, or has become. */
export interface BuiltImage {
  readonly config: BuildConfig;
  readonly history: readonly HistoryEntry[];
  readonly author: string;
}

/** What programs are found by where nobody has said otherwise. Source: BuildKit, util/system/path.go. */
export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const NOTHING: BuildConfig = {
  user: '',
  exposedPorts: [],
  env: [],
  entrypoint: [],
  cmd: [],
  volumes: [],
  workdir: '',
  labels: {},
  stopSignal: '',
  onBuild: [],
  shell: [],
};

/** What `FROM scratch` starts with. */
export const SCRATCH: BuiltImage = {
  config: { ...NOTHING, env: [DEFAULT_PATH], workdir: '/' },
  history: [],
  author: '',
};
