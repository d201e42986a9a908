/** Which task a user's command is for. */
import { ClusterError } from '../../common/errors.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { isTerminal, type Task } from '../../common/model/task.ts';
import { findTask } from '../control/lookup.ts';
import { isNodeGone, nodeNameOf, serviceNameOf } from '../control/names.ts';
import type { RelayTarget } from '../relay/target.ts';
import type { View } from '../store/store.ts';

export interface ExecTarget extends RelayTarget {
  readonly taskId: TaskId;
}

const SLOT_NAME = /^(.+)\.([1-9]\d*)$/;

/**
 * By id, unambiguous id prefix, `service.slot.id`, or `service.slot`, which means the one that runs in the slot.
 * @throws ClusterError `not_found`, `invalid` for several, `conflict` for one that does not run, `unavailable` for one
 *   whose node is gone
 */
export function execTarget(view: View, ref: string): ExecTarget {
  const task = findTask(view, ref)?.value ?? inSlot(view, ref);
  const state = view.get('task-status', task.id)?.value.state;
  const nodeName = nodeNameOf(view, task.nodeId);
  if (task.nodeId === undefined || !isRunning(view, task)) {
    throw new ClusterError('conflict', `task "${ref}" does not run but is ${state ?? 'pending'}`, {
      hint: `see \`covey service ps ${serviceNameOf(view, task)}\``,
    });
  }
  if (isNodeGone(view, task)) {
    throw new ClusterError('unavailable', `task "${ref}" cannot be reached: node ${nodeName} is down`, {
      hint: 'see `covey node ls`',
    });
  }
  return { taskId: task.id, nodeId: task.nodeId, nodeName, what: `task "${ref}"`, lost: 'how the command ended' };
}

function inSlot(view: View, ref: string): Task {
  const [, service, slot] = SLOT_NAME.exec(ref) ?? [];
  const claim = service === undefined ? undefined : view.get('name', `service/${service.toLowerCase()}`);
  const all = claim === undefined ? [] : [...view.tasksOf(claim.value.id as Task['serviceId'])];
  const tasks = all.map(({ value }) => value).filter((task) => String(task.slot) === slot);
  const newest = tasks.toSorted((a, b) => b.createdAt - a.createdAt)[0];
  if (newest === undefined) {
    throw new ClusterError('not_found', `task "${ref}" is not in the cluster`, {
      hint: 'give a task’s id or SERVICE.SLOT as `covey service ps` shows them',
    });
  }
  const running = tasks.filter((task) => isRunning(view, task));
  if (running.length > 1) {
    const ids = running.map(({ id }) => id).join(', ');
    throw new ClusterError('invalid', `"${ref}" matches several tasks: ${ids}`, { hint: 'give the id of one' });
  }
  return running[0] ?? newest;
}

/** Its container is there: one that is not ready yet takes commands too. */
function isRunning(view: View, task: Task): boolean {
  const state = view.get('task-status', task.id)?.value.state;
  return state !== undefined && !isTerminal(state) && (state === 'starting' || state === 'running');
}
