/** Names that people see, of things that may be half gone. */

import type { NodeId } from '../../common/model/ids.ts';
import { revisionKey } from '../../common/model/service.ts';
import type { Task } from '../../common/model/task.ts';
import type { View } from '../store/store.ts';

/** The service's name, also after its removal; its id when nothing else is left. */
export function serviceNameOf(view: View, task: Task): string {
  return (
    view.get('service', task.serviceId)?.value.spec.name ??
    view.get('revision', revisionKey(task.serviceId, task.revision))?.value.serviceName ??
    task.serviceId
  );
}

/** The host's name, or the id of a node that has never reported one; empty for no node. */
export function nodeNameOf(view: View, nodeId: NodeId | undefined): string {
  if (nodeId === undefined) return '';
  return view.get('node-status', nodeId)?.value.description.hostname || nodeId;
}

/** True when the task's node has been removed or is lost for good. */
export function isNodeGone(view: View, task: Task): boolean {
  if (task.nodeId === undefined) return false;
  if (view.get('node', task.nodeId) === undefined) return true;
  return view.get('node-status', task.nodeId)?.value.state === 'lost';
}
