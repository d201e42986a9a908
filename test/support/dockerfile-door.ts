/** The whole way of a Dockerfile's text as far as nothing has to be built; for fuzzing and properties. */

import { expandStep } from '../../agent/build/dockerfile/expand.ts';
import { parseDockerfile } from '../../agent/build/dockerfile/parse.ts';
import { planBuild } from '../../agent/build/dockerfile/plan.ts';
import { applyStep, beginStage } from '../../agent/build/dockerfile/state.ts';
import { ClusterError } from '../../common/errors.ts';

/** Throws whatever is not a ClusterError `invalid`: a finding. */
export function openDockerfile(text: string): 'planned' | 'refused' {
  try {
    const plan = planBuild(parseDockerfile(text, 'Dockerfile'), { args: { a: '1' }, platform: 'linux/amd64' });
    for (const stage of plan.stages) {
      let state = beginStage('scratch');
      for (const step of stage.steps)
        state = applyStep(state, expandStep(step, state, { plan, stage: stage.index }), 0);
    }
    return 'planned';
  } catch (cause) {
    if (cause instanceof ClusterError && cause.code === 'invalid') return 'refused';
    throw cause;
  }
}
