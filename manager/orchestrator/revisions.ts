/** Deletes revisions that neither a service nor a task names any more. */
import type { ServiceId } from '../../common/model/ids.ts';
import { revisionKey, type Service } from '../../common/model/service.ts';
import { NOTHING, type Reconciler } from '../reconcile.ts';
import { check, remove, type View } from '../store/store.ts';

/** The reconciler of service revisions; key = `revisionKey`. */
export const revisions: Reconciler = {
  name: 'revisions',
  *keysOf(change) {
    switch (change.kind) {
      case 'revision':
        yield change.id;
        return;
      case 'task':
        if (change.before !== undefined && change.after === undefined) {
          yield revisionKey(change.before.serviceId, change.before.revision);
        }
        return;
      case 'service':
        if (change.before !== undefined) yield* namedBy(change.before);
        return;
      case 'cluster':
      case 'manager':
      case 'leader':
      case 'rollout':
      case 'task-status':
      case 'node':
      case 'node-status':
      case 'image':
      case 'login':
      case 'container':
      case 'name':
        return;
    }
  },
  *allKeys(view) {
    for (const { value } of view.all('revision')) yield revisionKey(value.serviceId, value.number);
  },
  decide(view, key) {
    const revision = view.get('revision', key);
    if (revision === undefined) return NOTHING;
    const { serviceId, number } = revision.value;
    const service = view.get('service', serviceId);
    if (service !== undefined && namedBy(service.value).includes(key)) return NOTHING;
    if (isUsed(view, serviceId, number)) return NOTHING;
    return { units: [[remove('revision', key, revision.rev), check('service', serviceId, service?.rev ?? 0)]] };
  },
};

function namedBy(service: Service): readonly string[] {
  const numbers = service.previous === undefined ? [service.revision] : [service.revision, service.previous.revision];
  return numbers.map((number) => revisionKey(service.id, number));
}

function isUsed(view: View, serviceId: ServiceId, number: number): boolean {
  for (const task of view.tasksOf(serviceId)) if (task.value.revision === number) return true;
  return false;
}
