/** Whether a task is still what its service wants. Source: swarmkit, updater, dirty tasks. */
import { factsOf, satisfies } from '../../common/model/constraint.ts';
import { revisionKey, type Service, type ServiceRevision, type TaskTemplate } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { View } from '../store/store.ts';

/** `placement`: nothing but the placement differs, so it depends on the task's node. */
export type Difference = 'none' | 'placement' | 'contents';

/** How a revision's contents differ from what the service wants now. A revision that is not there differs. */
export function differenceOf(service: Service, revision: ServiceRevision | undefined): Difference {
  if (revision === undefined) return 'contents';
  if (revision.number === service.revision) return 'none';
  const { template, ports } = service.spec;
  if (!isSame(revision.ports, ports)) return 'contents';
  const { placement } = template;
  if (!isSameTemplate({ ...revision.template, placement }, template)) return 'contents';
  return isSame(revision.template.placement, placement) ? 'none' : 'placement';
}

/** Whether tasks made from either are the same: the name that one image goes by is no difference. */
export function isSameTemplate(a: TaskTemplate, b: TaskTemplate): boolean {
  const isSameImage = a.container.imageDigest !== undefined && a.container.imageDigest === b.container.imageDigest;
  const { image } = b.container;
  return isSame(isSameImage ? { ...a, container: { ...a.container, image } } : a, b);
}

/**
 * True when the task has to be replaced to be what the service wants.
 * With only the placement changed it may stay where the new constraints hold; unbound, it is better made anew.
 */
export function isDirty(view: View, service: Service, task: Task, difference: Difference): boolean {
  switch (difference) {
    case 'none':
      return false;
    case 'contents':
      return true;
    case 'placement': {
      const node = task.nodeId === undefined ? undefined : view.get('node', task.nodeId);
      if (node === undefined) return task.nodeId === undefined;
      const facts = factsOf(node.value, view.get('node-status', node.value.id)?.value);
      return !satisfies(facts, service.spec.template.placement.constraints);
    }
  }
}

/** The revision object of a task, if it is still there. */
export function revisionOf(view: View, task: Task): ServiceRevision | undefined {
  return view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
}

/** Deep equality of plain values; an absent property equals an undefined one. */
export function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const one = a as Readonly<Record<string, unknown>>;
  const other = b as Readonly<Record<string, unknown>>;
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false;
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].every((key) => isSame(one[key], other[key]));
}
