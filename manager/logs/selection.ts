/** Which tasks a reader of logs means. */
import type { ServiceId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { findService, findTask } from '../control/lookup.ts';
import type { View } from '../store/store.ts';

/** Tasks named or of a named service, oldest first, and the services whose later tasks belong to it too. */
export interface Choice {
  readonly tasks: readonly TaskId[];
  readonly services: ReadonlySet<ServiceId>;
}

/** A ref is a service first, then a task. @throws ClusterError `not_found`, `invalid` when it matches several */
export function chosenTasks(view: View, refs: readonly string[]): Choice {
  const services = new Set<ServiceId>();
  const tasks = new Map<TaskId, Task>();
  for (const ref of refs) {
    // A short service name may also begin a task's id: the name goes first.
    const task = isServiceName(view, ref) ? undefined : findTask(view, ref)?.value;
    if (task !== undefined) {
      tasks.set(task.id, task);
      continue;
    }
    const { id } = findService(view, ref).value;
    services.add(id);
    for (const { value } of view.tasksOf(id)) tasks.set(value.id, value);
  }
  const oldestFirst = [...tasks.values()].sort((a, b) => a.createdAt - b.createdAt);
  return { tasks: oldestFirst.map(({ id }) => id), services };
}

/** True for a task that belongs to the choice, whenever it was made. */
export function joins(choice: Choice, task: Task): boolean {
  return choice.services.has(task.serviceId) || choice.tasks.includes(task.id);
}

function isServiceName(view: View, ref: string): boolean {
  return view.get('service', ref) !== undefined || view.get('name', `service/${ref.toLowerCase()}`) !== undefined;
}
