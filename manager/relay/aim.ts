/** Which node serves a call of service Engine, as its first message says. */
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { execTarget } from '../exec/target.ts';
import type { View } from '../store/store.ts';
import type { EngineMethod } from './engine.ts';
import { nodeTarget, type RelayTarget } from './target.ts';

export interface Aimed {
  readonly target: RelayTarget;
  /** The first message as the node is to get it. */
  readonly first: object;
}

/** @throws ClusterError as `execTarget` and `nodeTarget`, `invalid` for a command that does not say what is to be run */
export function aim(view: View, method: EngineMethod, first: object): Aimed {
  if (method === 'exec') return aimExec(view, first);
  const { node } = first as { readonly node?: string };
  return { target: nodeTarget(view, node ?? ''), first };
}

function aimExec(view: View, first: covey.v1.ExecInput.$Properties): Aimed {
  const { start } = first;
  if (!start?.command?.length) {
    throw new ClusterError('invalid', 'a command did not begin with what is to be run', { field: 'start' });
  }
  const { taskId, ...target } = execTarget(view, start.task ?? '');
  return { target, first: { start: { ...start, task: taskId } } };
}
