/** Which node serves a call of service Engine, as its first message says. */
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { findContainer } from '../control/lookup.ts';
import { execTarget } from '../exec/target.ts';
import type { View } from '../store/store.ts';
import type { EngineMethod } from './engine.ts';
import { nodeTarget, type RelayTarget } from './target.ts';

export interface Aimed {
  readonly target: RelayTarget;
  /** The first message as the node is to get it. */
  readonly first: object;
}

/** What names a container. */
interface Named {
  readonly node?: string | null;
  readonly container?: string | null;
}

const FULL_ID = /^[0-9a-f]{64}$/;

/** @throws ClusterError as `execTarget`, `findContainer` and `nodeTarget`, `invalid` for a command that does not say what is to be run */
export function aim(view: View, method: EngineMethod, first: object): Aimed {
  if (method === 'exec') return aimExec(view, first);
  if (method === 'attach') {
    const { start } = first as covey.v1.ExecInput.$Properties;
    const { target, id } = containerTarget(view, start ?? {});
    return { target, first: { start: { ...start, container: id } } };
  }
  if (method === 'build') {
    // Where the same folder was built before lie its contents and its cache.
    const { node, start } = first as covey.v1.BuildInput.$Properties;
    return { target: nodeTarget(view, node ?? '', start?.listedContext ?? ''), first };
  }
  const named = first as Named;
  if (!named.container) return { target: nodeTarget(view, named.node ?? ''), first };
  const { target, id } = containerTarget(view, named);
  return { target, first: { ...first, container: id } };
}

function aimExec(view: View, first: covey.v1.ExecInput.$Properties): Aimed {
  const { start } = first;
  if (!start?.command?.length) {
    throw new ClusterError('invalid', 'a command did not begin with what is to be run', { field: 'start' });
  }
  const container = containerNamed(view, start);
  if (container !== undefined) {
    const { target, id } = containerTarget(view, { container });
    return {
      target: { ...target, lost: 'how the command ended' },
      first: { start: { ...start, task: '', container: id } },
    };
  }
  const { taskId, ...target } = execTarget(view, start.task ?? '');
  return { target, first: { start: { ...start, task: taskId } } };
}

/** What a user calls a task may be a container's name or the beginning of its id; a task's own id comes first. */
function containerNamed(view: View, { task, container }: covey.v1.ExecStart.$Properties): string | undefined {
  if (container) return container;
  const ref = task ?? '';
  if (ref === '' || view.get('task', ref as never) !== undefined) return undefined;
  try {
    return findContainer(view, ref).value.id;
  } catch {
    // Of several, or of none: then it is a task's, and that door says what is wrong.
    return undefined;
  }
}

/** Who knows the node and the whole id needs no claim: a leader may hear of a new one a moment later than its user. */
function containerTarget(
  view: View,
  { node, container }: Named,
): { readonly target: RelayTarget; readonly id: string } {
  const ref = container ?? '';
  if (node && FULL_ID.test(ref)) return { target: named(nodeTarget(view, node), ref), id: ref };
  const { id, nodeId, name } = findContainer(view, ref).value;
  return { target: named(nodeTarget(view, nodeId), name), id };
}

function named(target: RelayTarget, ref: string): RelayTarget {
  return { ...target, what: `container "${ref.slice(0, 64)}"`, lost: 'what became of it' };
}
