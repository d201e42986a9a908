/**
 * Which stages a build needs, what each of them waits for, and which may run side by side. Comes in a parsed Dockerfile and
 * what the user asked for; goes out a plan, whose steps expand.ts makes ready one after the other.
 */
import { ClusterError } from '../../../common/errors.ts';
import { flaw, type Place } from './flaw.ts';
import { mountFrom } from './mounts.ts';
import { argsGiven, expandAt, type Given, globalVariables, PREDEFINED } from './scope.ts';
import type { Source } from './steps.ts';
import type { Variables } from './words.ts';
import type { Dockerfile, Stage, Step } from './written.ts';

export interface BuildRequest {
  /** A stage's name or index; absent = the last. */
  readonly target?: string;
  /** `--build-arg`: a name with a value. */
  readonly args: Readonly<Record<string, string>>;
  /** What is built for, and on: `linux/amd64`. */
  readonly platform: string;
}

export type Base =
  | { readonly kind: 'scratch' }
  | { readonly kind: 'stage'; readonly stage: number }
  | { readonly kind: 'image'; readonly image: string };

export interface PlannedStage {
  readonly index: number;
  /** What people call it: its name, else `stage-INDEX`. */
  readonly title: string;
  readonly base: Base;
  /** `os/arch[/variant]`, where FROM says one. */
  readonly platform?: string;
  /** Stages that must be done first; sorted, unique, all smaller than `index`. */
  readonly needs: readonly number[];
  readonly place: Place;
  readonly steps: readonly Step[];
}

export interface BuildPlan {
  readonly file: Dockerfile;
  /** Those that the target needs, itself included, in the file's order. */
  readonly stages: readonly PlannedStage[];
  readonly target: number;
  /** Indexes of stages; each level needs only those before it. */
  readonly levels: readonly (readonly number[])[];
  readonly given: Given;
  readonly warnings: readonly string[];
}

/** Names of the kernel for what Go calls otherwise. */
const ARCH_NAMES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };
const PLATFORM_SHAPE = /^[a-z0-9_]+\/[a-z0-9_]+(?:\/[a-z0-9_.]+)?$/;

/** @throws ClusterError `invalid`: no such target, a FROM that comes to nothing, a `--from` of what comes later */
export function planBuild(file: Dockerfile, request: BuildRequest): BuildPlan {
  const target = targetOf(file, request.target);
  const scope = globalVariables(file, request);
  const planned = file.stages.slice(0, target + 1).map((stage) => plannedStage(stage, file, scope.globals));
  const needed = neededFor(planned, target);
  const stages = planned.filter((stage) => needed.has(stage.index));
  for (const stage of stages) proveBuildable(stage, request.platform);
  const given = { args: argsGiven(request), ...scope, target: stages.at(-1)?.title ?? '' };
  return {
    file,
    stages,
    target,
    levels: levelsOf(stages),
    given,
    warnings: [...file.warnings, ...unusedArgs(file, stages, request)],
  };
}

/** The base's programs have to run here. A variant is the processor's business: the best image of an index is taken. */
function proveBuildable({ platform, place }: PlannedStage, ours: string): void {
  if (platform === undefined) return;
  const [os, arch = ''] = platform.split('/');
  if (`${os}/${ARCH_NAMES[arch] ?? arch}` === ours) return;
  throw flaw(
    place,
    `--platform=${platform} cannot be built here, where programs of ${ours} run`,
    `leave it out, or write ${ours}`,
  );
}

/**
 * What `from` names, seen from a stage: an earlier stage by name or index, else an image.
 *
 * @throws ClusterError `invalid` for the stage itself and for later ones
 */
export function sourceOf(file: Dockerfile, stage: number, from: string, place: Place): Source {
  const name = from.toLowerCase();
  const index = /^\d+$/.test(from) ? Number(from) : file.stages.findIndex((each) => each.name === name);
  if (index === -1) return name === 'scratch' ? { kind: 'scratch' } : { kind: 'image', image: from };
  if (index >= file.stages.length) {
    throw flaw(place, `there is no stage ${from}`, `stages count from 0; the file has ${file.stages.length}`);
  }
  if (index < stage) return { kind: 'stage', stage: index };
  const line = file.stages[index]?.span.line ?? 0;
  const why = index === stage ? 'is the stage itself' : `comes later, on line ${line}`;
  throw flaw(place, `--from=${from} ${why}`, 'copy from an earlier stage');
}

function targetOf(file: Dockerfile, target: string | undefined): number {
  if (target === undefined || target === '') return file.stages.length - 1;
  const named = file.stages.findIndex((stage) => stage.name === target.toLowerCase());
  const index = named === -1 && /^\d{1,6}$/.test(target) ? Number(target) : named;
  if (index >= 0 && index < file.stages.length) return index;
  const names = file.stages.flatMap((stage) => stage.name ?? []);
  throw new ClusterError('invalid', `target stage "${target}" could not be found in ${file.name}`, {
    field: 'target',
    hint:
      names.length === 0
        ? `stages have no names; choose 0 to ${file.stages.length - 1}`
        : `stages are ${names.join(', ')}`,
  });
}

function plannedStage(stage: Stage, file: Dockerfile, globals: Variables): PlannedStage {
  const place: Place = { file: file.name, span: stage.span, text: stage.text };
  const base = baseOf(stage, file, globals, place);
  const platform = platformOf(stage, file, globals, place);
  const sources = stage.steps.flatMap((step) =>
    fromsOf(step, file.name).map(({ from, at }) => sourceOf(file, stage.index, from, at)),
  );
  const needs = [base, ...sources].flatMap((each) => (each.kind === 'stage' ? [each.stage] : []));
  return {
    index: stage.index,
    title: stage.name ?? `stage-${stage.index}`,
    base,
    ...(platform === undefined ? {} : { platform }),
    needs: [...new Set(needs)].toSorted((a, b) => a - b),
    place,
    steps: stage.steps,
  };
}

function baseOf(stage: Stage, file: Dockerfile, globals: Variables, place: Place): Base {
  const base = expandAt(stage.base, globals, file, place);
  if (base === '') {
    throw flaw(
      place,
      `base name (${stage.base}) should not be blank`,
      'give the ARG before FROM a default, or --build-arg',
    );
  }
  if (base === 'scratch') return { kind: 'scratch' };
  const name = base.toLowerCase();
  const earlier = file.stages.find((other) => other.index < stage.index && other.name === name);
  return earlier === undefined ? { kind: 'image', image: base } : { kind: 'stage', stage: earlier.index };
}

function platformOf(stage: Stage, file: Dockerfile, globals: Variables, place: Place): string | undefined {
  if (stage.platform === undefined) return undefined;
  const platform = expandAt(stage.platform, globals, file, place);
  if (PLATFORM_SHAPE.test(platform)) return platform;
  throw flaw(place, `"${platform}" is no platform`, 'write OS/ARCH, such as linux/amd64');
}

/** What a step's `--from` and `--mount=from=` name. */
function fromsOf(step: Step, file: string): readonly { readonly from: string; readonly at: Place }[] {
  const at: Place = { file, span: step.span, text: step.text };
  if (step.kind === 'run') return step.mounts.flatMap((mount) => mountFrom(mount, at)).map((from) => ({ from, at }));
  return step.kind === 'copy' && step.from !== undefined ? [{ from: step.from, at }] : [];
}

function neededFor(stages: readonly PlannedStage[], target: number): ReadonlySet<number> {
  const needed = new Set<number>([target]);
  // Needs point backwards only: one pass from the end finds them all.
  for (const stage of stages.toReversed())
    if (needed.has(stage.index)) for (const each of stage.needs) needed.add(each);
  return needed;
}

function levelsOf(stages: readonly PlannedStage[]): readonly (readonly number[])[] {
  const depth = new Map<number, number>();
  const levels: number[][] = [];
  for (const { index, needs } of stages) {
    const level = needs.reduce((most, each) => Math.max(most, (depth.get(each) ?? 0) + 1), 0);
    depth.set(index, level);
    levels[level] = [...(levels[level] ?? []), index];
  }
  return levels;
}

/** As Docker says it. ARGs with variables in their names count for nothing here. */
function unusedArgs(file: Dockerfile, stages: readonly PlannedStage[], request: BuildRequest): readonly string[] {
  const steps = [...file.globals, ...stages.flatMap((stage) => stage.steps)];
  const declared = new Set(steps.flatMap((step) => (step.kind === 'arg' ? step.args.map((arg) => arg.name) : [])));
  const unused = Object.keys(request.args).filter((name) => !declared.has(name) && !PREDEFINED.has(name));
  return unused.length === 0
    ? []
    : [`[Warning] One or more build-args [${unused.toSorted().join(' ')}] were not consumed`];
}
