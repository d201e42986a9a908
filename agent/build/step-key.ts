/** What a step's outcome depends on, as a key: the files it starts from, what it does, and whatever of other files it reads. Pure. */
import { createHash } from 'node:crypto';
import type { Digest } from '../../common/model/ids.ts';
import type { BuildConfig } from './dockerfile/build-config.ts';
import { argvOf, runEnv, workdirAfter } from './dockerfile/state.ts';
import type { ReadyStep, RunStep } from './dockerfile/steps.ts';

/** Raised when the same step comes to something else than before. */
const VERSION = 1;

/** A step that makes a layer. */
export type LayerStep = Extract<ReadyStep, { readonly kind: 'run' | 'copy' | 'add' | 'workdir' }>;

export interface KeyParts {
  readonly step: LayerStep;
  readonly config: BuildConfig;
  /** The stage's layers so far, lowest first. */
  readonly layers: readonly Digest[];
  /** Digests of the other files that it reads, in the order in which the step names them. */
  readonly contents: readonly string[];
  /** SOURCE_DATE_EPOCH. */
  readonly epochMs: number | undefined;
}

/** 64 hex digits. */
export function stepKey(parts: KeyParts): string {
  const { step, layers, contents, epochMs } = parts;
  const sees = 'link' in step && step.link ? [] : layers;
  const said = [VERSION, step.kind, sees, contents, epochMs ?? null, doingOf(step, parts.config)];
  return createHash('sha256').update(JSON.stringify(said)).digest('hex');
}

function doingOf(step: LayerStep, config: BuildConfig): unknown {
  switch (step.kind) {
    case 'run':
      return runningOf(step, config);
    case 'workdir':
      return [workdirAfter(config, step.path), config.user];
    case 'copy':
    case 'add': {
      const { sources, documents, dest, chown, chmod, link, exclude } = step;
      const own = step.kind === 'copy' ? [step.parents] : [step.urls, step.checksum, step.unpack];
      return [sources, documents, dest, workdirAfter(config, ''), chown ?? '', chmod ?? '', link, exclude, own];
    }
  }
}

/** Secrets count by their id, never by what they are; nor do proxies. */
function runningOf(step: RunStep, config: BuildConfig): unknown {
  const { command, args, mounts, network, script } = step;
  return [argvOf(command, config), runEnv(config, args), config.user, config.workdir, mounts, network, script ?? null];
}
