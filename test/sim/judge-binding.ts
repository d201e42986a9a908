/** Whether a node may have the task that was just bound to it (invariant I21, and the addresses). */
import { factsOf, satisfies } from '../../common/model/constraint.ts';
import type { NodeId } from '../../common/model/ids.ts';
import { revisionKey, type ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, isWanted, type Task } from '../../common/model/task.ts';
import type { View } from '../../manager/store/store.ts';

/** What is wrong with the binding of `task`, as the store is right after it. */
export function bindingFlaw(view: View, task: Task): string | undefined {
  const nodeId = task.nodeId as NodeId;
  const node = view.get('node', nodeId)?.value;
  const status = view.get('node-status', nodeId)?.value;
  const revision = revisionOf(view, task);
  const at = `task ${task.id} is bound to ${nodeId}`;
  if (node === undefined || status === undefined || revision === undefined)
    return `I21: ${at}, of which too little is known`;
  if (status.state !== 'ready' || status.unfit !== '') return `I21: ${at}, which is ${status.state} ${status.unfit}`;
  if (node.availability === 'drain') return `I22: ${at}, which is drained`;
  if (node.availability !== 'active') return `I21: ${at}, which is not active`;
  if (!satisfies(factsOf(node, status), revision.template.placement.constraints))
    return `I21: ${at} against its constraints`;
  const there = [...view.tasksOn(nodeId)].map(({ value }) => value).filter((other) => isThere(view, other));
  if (there.some((other) => other.id !== task.id && other.address === task.address)) {
    return `address: ${at} with an address that is in use there, ${task.address}`;
  }
  return oversold(view, there, status.description) ?? crowded(view, task, there, revision);
}

function oversold(
  view: View,
  there: readonly Task[],
  offer: { readonly nanoCpus: number; readonly memoryBytes: number },
): string | undefined {
  let nanoCpus = 0;
  let memoryBytes = 0;
  for (const task of there) {
    const { reservations } = revisionOf(view, task)?.template ?? {};
    nanoCpus += reservations?.nanoCpus ?? 0;
    memoryBytes += reservations?.memoryBytes ?? 0;
  }
  const isTooMuch = nanoCpus > offer.nanoCpus || memoryBytes > offer.memoryBytes;
  return isTooMuch
    ? `I21: node ${there[0]?.nodeId} is oversold: ${memoryBytes} of ${offer.memoryBytes} bytes`
    : undefined;
}

function crowded(view: View, task: Task, there: readonly Task[], revision: ServiceRevision): string | undefined {
  const max = revision.template.placement.maxReplicasPerNode;
  // The same plan binds older revisions first: a newer one's task came later and was judged by its own limit.
  const counts = (other: Task): boolean => other.revision <= task.revision || other.assignedAt !== task.assignedAt;
  const ofService = there.filter(
    (other) => other.serviceId === task.serviceId && isWanted(other) && counts(other),
  ).length;
  if (max > 0 && ofService > max)
    return `I21: node ${task.nodeId} has ${ofService} tasks of ${task.serviceId}, at most ${max}`;
  const ports = revision.ports.filter(({ mode }) => mode === 'host').map(({ published }) => published);
  for (const other of there) {
    if (other.id === task.id) continue;
    const clash = revisionOf(view, other)?.ports.find(
      ({ mode, published }) => mode === 'host' && ports.includes(published),
    );
    if (clash !== undefined) return `I21: host port ${clash.published} is used twice on ${task.nodeId}`;
  }
  return undefined;
}

function isThere(view: View, task: Task): boolean {
  const status = view.get('task-status', task.id)?.value;
  return status === undefined || !isTerminal(status.state);
}

function revisionOf(view: View, task: Task): ServiceRevision | undefined {
  return view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
}
