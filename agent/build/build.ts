/**
 * One build: its stages side by side as far as they do not wait for each other, each step in its turn. Comes in: a plan and the
 * context's folder. Goes out: the target's image, and what happens meanwhile.
 */
import { ClusterError } from '../../common/errors.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import type { BaseImage, BaseImages } from './base-images.ts';
import type { LayerStep } from './dockerfile/cache-key.ts';
import { expandStep } from './dockerfile/expand.ts';
import { parseTriggers } from './dockerfile/parse.ts';
import type { BuildPlan, PlannedStage } from './dockerfile/plan.ts';
import { applyStep, beginStage, type StageState } from './dockerfile/state.ts';
import type { ReadyStep, Source } from './dockerfile/steps.ts';
import type { Step } from './dockerfile/written.ts';
import type { BuiltLayer } from './image.ts';
import { LayersTree, type SourceTree } from './source-tree.ts';
import type { BuildFrame, StageLayers } from './stage-layers.ts';

/** What happens in a build, in order. Numbers name steps and are given once. */
export type BuildEvent =
  | { readonly kind: 'begin'; readonly number: number; readonly title: string }
  | { readonly kind: 'end'; readonly number: number; readonly outcome: 'done' | 'cached'; readonly ms: number }
  | { readonly kind: 'failed'; readonly number: number; readonly message: string }
  | {
      readonly kind: 'output';
      readonly number: number;
      readonly stream: 'stdout' | 'stderr';
      readonly text: Uint8Array;
    }
  | { readonly kind: 'warning'; readonly message: string };

export interface BuildParts {
  readonly plan: BuildPlan;
  readonly stageLayers: StageLayers;
  readonly bases: BaseImages;
  /** Absent: there is none. */
  readonly context: SourceTree | undefined;
  readonly frame: Omit<BuildFrame, 'treeOf'>;
  readonly pathOf: (layer: Digest) => string;
  readonly now: () => Instant;
  readonly tell: (event: BuildEvent) => void;
}

/** A stage when its last step is done. */
export interface BuiltStage {
  readonly state: StageState;
  readonly layers: readonly BuiltLayer[];
  /** When the newest of its layers was made; a config that says the same is the same image, however late it is built again. */
  readonly at: Instant;
}

export class Build {
  readonly #parts: BuildParts;
  readonly #stages = new Map<number, Promise<BuiltStage>>();
  readonly #frame: BuildFrame;
  #numbers = 0;

  constructor(parts: BuildParts) {
    this.#parts = parts;
    this.#frame = { ...parts.frame, treeOf: (source, signal) => this.#treeOf(source, signal) };
  }

  /** The target's image. The first step that fails ends all others. @throws ClusterError as the failed step says */
  async run(signal: AbortSignal): Promise<BuiltStage> {
    const { plan, tell } = this.#parts;
    for (const message of plan.warnings) tell({ kind: 'warning', message });
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    for (const stage of plan.stages) {
      const work = this.#begin(stage, stop);
      work.catch((cause: unknown) => failed.abort(cause));
      this.#stages.set(stage.index, work);
    }
    await Promise.allSettled(this.#stages.values());
    signal.throwIfAborted();
    failed.signal.throwIfAborted();
    return await this.#stage(plan.target);
  }

  #stage(index: number): Promise<BuiltStage> {
    const stage = this.#stages.get(index);
    if (stage === undefined) throw new ClusterError('internal', `stage ${index} was not planned`);
    return stage;
  }

  /** Waits for the stages it needs, then does its steps. */
  async #begin(stage: PlannedStage, signal: AbortSignal): Promise<BuiltStage> {
    for (const needed of stage.needs) await this.#stage(needed);
    signal.throwIfAborted();
    const { base } = stage;
    if (base.kind === 'stage') {
      const below = await this.#stage(base.stage);
      return await this.#steps(stage, { ...below, state: beginStage(below.state) }, [], signal);
    }
    if (base.kind === 'scratch') {
      const at = this.#parts.frame.epochMs ?? this.#parts.now();
      return await this.#steps(stage, { state: beginStage('scratch'), layers: [], at }, [], signal);
    }
    const image = await this.#base(stage, base.image, signal);
    const triggers = parseTriggers(image.image.config.onBuild, base.image);
    const begun = { state: beginStage(image.image), layers: image.layers, at: image.at };
    return await this.#steps(stage, begun, triggers, signal);
  }

  async #base(stage: PlannedStage, name: string, signal: AbortSignal): Promise<BaseImage> {
    const bring = () => this.#parts.bases.bring(name, this.#frame.hold, signal);
    return await this.#told(`[${stage.title}] FROM ${name}`, async () => ({ ...(await bring()), isCached: false }));
  }

  async #steps(
    stage: PlannedStage,
    begun: BuiltStage,
    triggers: readonly Step[],
    signal: AbortSignal,
  ): Promise<BuiltStage> {
    const { plan } = this.#parts;
    const count = triggers.length + stage.steps.length;
    let built = begun;
    for (const [index, step] of [...triggers, ...stage.steps].entries()) {
      signal.throwIfAborted();
      const trigger = index < triggers.length ? { file: `ONBUILD of the base image of ${stage.title}` } : {};
      const standing = { plan, stage: stage.index, ...trigger };
      const ready = expandStep(step, built.state, standing);
      const title = plan.stages.length === 1 ? '' : `${stage.title} `;
      built = await this.#step(ready, built, `[${title}${index + 1}/${count}] ${ready.title}`, signal);
    }
    return built;
  }

  async #step(ready: ReadyStep, before: BuiltStage, title: string, signal: AbortSignal): Promise<BuiltStage> {
    if (!isLayerStep(ready)) return { ...before, state: applyStep(before.state, ready, before.at) };
    const outcome = await this.#told(title, (number) => {
      const place = {
        state: before.state,
        layers: before.layers.map(({ diffId }) => diffId),
        onOutput: (stream: 'stdout' | 'stderr', text: Uint8Array) =>
          this.#parts.tell({ kind: 'output', number, stream, text }),
      };
      return this.#parts.stageLayers.make(ready, place, this.#frame, signal);
    });
    const at = Math.max(outcome.at, before.layers.length === 0 ? 0 : before.at);
    const layers = [...before.layers, { diffId: outcome.layer }];
    return { state: applyStep(before.state, ready, outcome.at), layers, at };
  }

  async #told<T extends { readonly isCached: boolean }>(
    title: string,
    work: (number: number) => Promise<T>,
  ): Promise<T> {
    const { tell, now } = this.#parts;
    this.#numbers += 1;
    const number = this.#numbers;
    const startedAt = now();
    tell({ kind: 'begin', number, title });
    try {
      const result = await work(number);
      tell({ kind: 'end', number, outcome: result.isCached ? 'cached' : 'done', ms: now() - startedAt });
      return result;
    } catch (cause) {
      tell({ kind: 'failed', number, message: cause instanceof Error ? cause.message : String(cause) });
      throw cause;
    }
  }

  /** Undefined: nothing is in it. */
  async #treeOf(source: Source, signal: AbortSignal): Promise<SourceTree | undefined> {
    switch (source.kind) {
      case 'scratch':
        return undefined;
      case 'context': {
        const { context } = this.#parts;
        if (context !== undefined) return context;
        throw new ClusterError('invalid', 'this build has no context to copy from', {
          hint: 'give a folder as context; with - only the Dockerfile is read',
        });
      }
      case 'stage':
        return this.#tree((await this.#stage(source.stage)).layers);
      case 'image':
        return this.#tree((await this.#parts.bases.bring(source.image, this.#frame.hold, signal)).layers);
    }
  }

  #tree(layers: readonly BuiltLayer[]): SourceTree | undefined {
    const ids = layers.map(({ diffId }) => diffId);
    if (ids.length === 0) return undefined;
    const folders = ids
      .filter((id, at) => ids.lastIndexOf(id) === at)
      .map((id) => ({ path: this.#parts.pathOf(id), idBase: 0 }));
    return new LayersTree(folders.toReversed());
  }
}

function isLayerStep(step: ReadyStep): step is LayerStep {
  return step.kind === 'run' || step.kind === 'copy' || step.kind === 'add' || step.kind === 'workdir';
}
