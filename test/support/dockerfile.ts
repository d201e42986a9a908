/** Dockerfiles in a few words, for tests of what is read from them. */
import { expect } from 'vitest';
import { expandStep } from '../../agent/build/dockerfile/expand.ts';
import { parseDockerfile } from '../../agent/build/dockerfile/parse.ts';
import { planBuild } from '../../agent/build/dockerfile/plan.ts';
import { applyStep, beginStage, type StageState } from '../../agent/build/dockerfile/state.ts';
import type { ReadyStep } from '../../agent/build/dockerfile/steps.ts';
import { readBase } from '../../agent/build/image-file.ts';
import { explain, toClusterError } from '../../common/errors.ts';

export const parse = (text: string) => parseDockerfile(text, 'Dockerfile');
/** The steps of a stage `FROM scratch` with these lines, without places. */
export function steps(...lines: readonly string[]): readonly unknown[] {
  const { stages } = parse(['FROM scratch', ...lines].join('\n'));
  return stages.flatMap((stage) => stage.steps.map(({ span: _, text: __, ...rest }) => rest));
}
/** What is wrong with the file, as the user reads it. */
export function flawOf(...lines: readonly string[]): string {
  try {
    parse(lines.join('\n'));
  } catch (cause) {
    const error = toClusterError(cause);
    expect(error.code).toBe('invalid');
    return explain(error);
  }
  return 'nothing is wrong';
}
/** The same, after a `FROM scratch` on line 1. */
export const wrong = (...lines: readonly string[]): string => flawOf('FROM scratch', ...lines);
export const shell = (line: string) => ({ form: 'shell', line });

interface Built {
  readonly state: StageState;
  /** Without place and title. */
  readonly steps: readonly unknown[];
}

/** Goes through all stages of the file and gives the last; images as bases are empty. */
export function build(
  lines: readonly string[],
  args: Readonly<Record<string, string>> = {},
  base = '{"config":{}}',
): Built {
  const plan = planBuild(parse(lines.join('\n')), { args, platform: 'linux/amd64' });
  const done = new Map<number, StageState>();
  let steps: readonly ReadyStep[] = [];
  for (const stage of plan.stages) {
    const from =
      stage.base.kind === 'stage' ? done.get(stage.base.stage) : stage.base.kind === 'scratch' ? 'scratch' : undefined;
    let state = beginStage(from ?? readBase(base, 'base'));
    steps = [];
    for (const step of stage.steps) {
      const ready = expandStep(step, state, { plan, stage: stage.index });
      steps = [...steps, ready];
      state = applyStep(state, ready, 1_000);
    }
    done.set(stage.index, state);
  }
  const state = done.get(plan.target);
  if (state === undefined) throw new Error('the target was not built');
  return { state, steps: steps.map(({ span: _, title: __, ...rest }) => rest) };
}
/** The same for lines after `FROM scratch`. */
export const scratch = (...lines: readonly string[]): Built => build(['FROM scratch', ...lines]);
export const config = (...lines: readonly string[]) => scratch(...lines).state.config;
export const env = (...lines: readonly string[]) => config(...lines).env.slice(1);
export function stepFlaw(...lines: readonly string[]): string {
  try {
    scratch(...lines);
  } catch (cause) {
    expect(toClusterError(cause).code).toBe('invalid');
    return explain(toClusterError(cause));
  }
  return 'nothing is wrong';
}

/** The last step of the file's one stage, ready, and the state before it. */
export function readySteps(
  lines: readonly string[],
  args: Readonly<Record<string, string>>,
): { readonly state: StageState; readonly step: ReadyStep } {
  const plan = planBuild(parse(lines.join('\n')), { args, platform: 'linux/amd64' });
  let state = beginStage('scratch');
  const steps = plan.stages.flatMap((stage) => stage.steps);
  const last = steps.at(-1);
  if (last === undefined) throw new Error('there is no step');
  for (const step of steps.slice(0, -1)) state = applyStep(state, expandStep(step, state, { plan, stage: 0 }), 0);
  return { state, step: expandStep(last, state, { plan, stage: 0 }) };
}

/** `@{x}` stands for the dollar's braces, which tools take for a template's. */
export const dollars = (text: string): string => text.replaceAll('@{', '$' + '{');
