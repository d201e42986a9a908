/**
 * What a step's layer depends on, as one key: same key, same layer.
 *
 * In the key: the layers below; what is executed, by whom, where, with which environment, network and mounts; of copied files names,
 * kinds, content, modes, owners, link targets and xattrs (as the caller's digest has them), where they go and as whose; the
 * SOURCE_DATE_EPOCH. Not in it: times of files; values of secrets; what is in caches; proxies; labels, ports, commands and whatever
 * else of the config a step cannot see, so that a changed LABEL builds nothing anew; the instruction's spelling and its line.
 */
import { digestOf } from '../../../common/oci/digest.ts';
import { destinationOf } from './destination.ts';
import { argvOf, runEnv, type StageState, workdirAfter } from './state.ts';
import type { Mount, ReadyStep, RunStep } from './steps.ts';

/** A step that makes a layer. */
export type LayerStep = Extract<ReadyStep, { readonly kind: 'run' | 'copy' | 'add' | 'workdir' }>;

export interface KeyParts {
  /** Of the layers below: the key of the step before, or what names the base image's layers. */
  readonly parent: string;
  readonly step: LayerStep;
  /** The stage before the step. */
  readonly state: StageState;
  /** Digests of what the step reads: sources, then URLs; for a RUN the sources of its mounts; in the order of the step. */
  readonly contents: readonly string[];
  /** Absent = the build has none. */
  readonly epochMs?: number;
}

/** Raised when the same steps make other layers than before. */
const VERSION = 1;

/** 64 hexadecimal digits. */
export function cacheKey({ parent, step, state, contents, epochMs }: KeyParts): string {
  const isAlone = (step.kind === 'copy' || step.kind === 'add') && step.link;
  const parts = [VERSION, isAlone ? 'alone' : parent, epochMs ?? 'now', contents, ...partsOf(step, state)];
  return digestOf(JSON.stringify(parts)).slice('sha256:'.length);
}

function partsOf(step: LayerStep, state: StageState): readonly unknown[] {
  const { config } = state;
  switch (step.kind) {
    case 'run':
      return ['run', ...runParts(step, state)];
    case 'workdir':
      // A folder that is made belongs to the user.
      return ['workdir', workdirAfter(config, step.path), config.user];
    case 'copy':
    case 'add': {
      const to = destinationOf(step.dest, config.workdir);
      const documents = step.documents.map(({ name, content }) => [name, content]);
      const how = step.kind === 'copy' ? step.parents : (step.unpack ?? 'by content');
      // Names count: a pattern that finds other files with the same content makes another layer.
      const names = step.kind === 'copy' ? step.sources : [...step.sources, ...step.urls];
      return [step.kind, names, documents, to, step.chown ?? '', step.chmod ?? '', step.link, how, step.exclude];
    }
  }
}

function runParts(step: RunStep, { config }: StageState): readonly unknown[] {
  return [
    argvOf(step.command, config),
    step.script ?? '',
    runEnv(config, step.args).toSorted(),
    config.workdir,
    config.user,
    step.network,
    step.mounts.map(mountParts),
  ];
}

/** A mount's own words; what lies behind it is among the contents, or, for caches and secrets, nobody's business. */
function mountParts(mount: Mount): readonly unknown[] {
  return Object.entries(mount)
    .filter(([name]) => name !== 'from')
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
}
