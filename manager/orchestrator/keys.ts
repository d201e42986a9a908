/** Which services a change may concern; the same for all reconcilers whose key is a service id. */
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import { isTerminal } from '../../common/model/task.ts';
import type { Change, View } from '../store/store.ts';

/** Services to look at again; the same id may come more than once. */
export function* servicesOf(change: Change, view: View): Iterable<ServiceId> {
  switch (change.kind) {
    case 'service':
    case 'rollout':
      yield change.id as ServiceId;
      return;
    case 'task':
      if (change.before !== undefined) yield change.before.serviceId;
      else if (change.after !== undefined) yield change.after.serviceId;
      return;
    case 'task-status': {
      const task = view.get('task', change.id);
      if (task !== undefined && isTelling(task.value, change.before, change.after)) yield task.value.serviceId;
      return;
    }
    case 'node':
    case 'node-status':
      yield* new Set([...view.tasksOn(change.id as NodeId)].map((task) => task.value.serviceId));
      return;
    case 'cluster':
    case 'leader':
      yield* allServices(view);
      return;
    case 'revision':
    case 'manager':
    case 'image':
    case 'login':
    case 'container':
    case 'name':
      return;
  }
}

/** All services, and those that are gone but still have tasks. */
export function allServices(view: View): Iterable<ServiceId> {
  const ids = new Set<ServiceId>();
  for (const service of view.all('service')) ids.add(service.value.id);
  for (const task of view.all('task')) ids.add(task.value.serviceId);
  for (const rollout of view.all('rollout')) ids.add(rollout.value.serviceId);
  return ids;
}

/** The way to `running` has many steps that nobody here acts on, but for a held task that is prepared. */
function isTelling(task: Task, before: TaskStatus | undefined, after: TaskStatus | undefined): boolean {
  if (before?.state === after?.state) return before?.healthy !== after?.healthy;
  if (after === undefined || after.state === 'running' || isTerminal(after.state)) return true;
  return after.state === 'ready' && task.desired === 'ready';
}
