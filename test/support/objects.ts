/** Small whole objects for tests of the store, where only identity matters. */
import type { NodeId, ServiceId, TaskId } from '../../common/model/ids.ts';
import { NO_RESTARTS, type Task } from '../../common/model/task.ts';

/** A task of `service`, not yet bound unless `change` says so. */
export function aTask(id: string, service = 'web', change: Partial<Task> = {}): Task {
  return {
    id: id as TaskId,
    serviceId: service as ServiceId,
    slot: 1,
    revision: 1,
    desired: 'running',
    origin: 'create',
    createdAt: 0,
    desiredAt: 0,
    restarts: NO_RESTARTS,
    ...change,
  };
}

/** Brands for readers of tests. */
export const serviceId = (id: string): ServiceId => id as ServiceId;
export const nodeId = (id: string): NodeId => id as NodeId;
