/** What happened, in a user's words. PURE: a change of the store in, its events out. */
import type { Image } from '../../common/model/cluster.ts';
import type { Instant, NodeId } from '../../common/model/ids.ts';
import type { Node, NodeStatus } from '../../common/model/node.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import type { Service } from '../../common/model/service.ts';
import type { Task, TaskStatus } from '../../common/model/task.ts';
import type { Change, View } from '../store/store.ts';
import { nodeNameOf, serviceNameOf } from './names.ts';

export const EVENT_TYPES = ['service', 'node', 'task', 'image'] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** See control.proto, Event. Source of the attributes: Docker's swarm events. */
export interface ClusterEvent {
  readonly at: Instant;
  readonly type: EventType;
  /** `create`, `update`, `remove`, or the state that a task or node has entered. */
  readonly action: string;
  readonly id: string;
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
}

type Draft = Omit<ClusterEvent, 'at'>;

/** The events of one change, in order; most internal changes have none. `view` is after the change. */
export function eventsOf(change: Change, view: View, at: Instant): readonly ClusterEvent[] {
  return drafts(change, view).map((draft) => ({ at, ...draft }));
}

function drafts(change: Change, view: View): readonly Draft[] {
  switch (change.kind) {
    case 'service':
      return serviceEvents(change.before, change.after);
    case 'rollout':
      return rolloutEvents(view, change.before, change.after);
    case 'node':
      return nodeEvents(view, change.before, change.after);
    case 'node-status':
      return nodeStatusEvents(change.before, change.after);
    case 'task':
      return taskEvents(view, change.before, change.after);
    case 'task-status':
      return taskStatusEvents(view, change.before, change.after);
    case 'image':
      return imageEvents(change.before, change.after);
    case 'cluster':
    case 'container':
    case 'leader':
    case 'login':
    case 'manager':
    case 'name':
    case 'revision':
      return [];
  }
}

function serviceEvents(before: Service | undefined, after: Service | undefined): readonly Draft[] {
  const service = after ?? before;
  if (service === undefined) return [];
  const base = { type: 'service', id: service.id, name: service.spec.name } as const;
  if (before === undefined) return [{ ...base, action: 'create', attributes: {} }];
  if (after === undefined) return [{ ...base, action: 'remove', attributes: {} }];
  const attributes = {
    ...pair('replicas', String(before.spec.mode.replicas), String(after.spec.mode.replicas)),
    ...pair('image', before.spec.template.container.image, after.spec.template.container.image),
  };
  return [{ ...base, action: 'update', attributes }];
}

function rolloutEvents(view: View, before: Rollout | undefined, after: Rollout | undefined): readonly Draft[] {
  if (after === undefined || (before?.state === after.state && before.target === after.target)) return [];
  const name = view.get('service', after.serviceId)?.value.spec.name ?? '';
  const attributes = { ...pair('updatestate', before?.state ?? '', after.state), message: after.message };
  return [{ type: 'service', action: 'update', id: after.serviceId, name, attributes }];
}

function nodeEvents(view: View, before: Node | undefined, after: Node | undefined): readonly Draft[] {
  const node = after ?? before;
  if (node === undefined) return [];
  const base = { type: 'node', id: node.id, name: nodeNameOf(view, node.id) } as const;
  if (before === undefined) return [{ ...base, action: 'create', attributes: {} }];
  if (after === undefined) return [{ ...base, action: 'remove', attributes: {} }];
  // The allocator's gift of a block is no user's business.
  if (before.block !== after.block) return [];
  return [{ ...base, action: 'update', attributes: pair('availability', before.availability, after.availability) }];
}

function nodeStatusEvents(before: NodeStatus | undefined, after: NodeStatus | undefined): readonly Draft[] {
  if (after === undefined) return [];
  const base = { type: 'node', id: after.nodeId, name: after.description.hostname || after.nodeId } as const;
  if (before?.state !== after.state) {
    const attributes = { ...pair('state', before?.state ?? '', after.state), ...reason(after.message) };
    return [{ ...base, action: after.state, attributes }];
  }
  if (before.unfit === after.unfit) return [];
  return [{ ...base, action: after.unfit === '' ? 'fit' : 'unfit', attributes: reason(after.unfit) }];
}

function taskEvents(view: View, before: Task | undefined, after: Task | undefined): readonly Draft[] {
  const task = after ?? before;
  if (task === undefined) return [];
  const base = baseOfTask(view, task);
  if (before === undefined) return [{ ...base, action: 'create' }];
  if (after === undefined) return [{ ...base, action: 'remove' }];
  const events: Draft[] = [];
  if (before.nodeId === undefined && after.nodeId !== undefined) events.push({ ...base, action: 'assigned' });
  if (after.pending !== undefined && before.pending !== after.pending) {
    events.push({ ...base, action: 'pending', attributes: { ...base.attributes, ...reason(after.pending) } });
  }
  return events;
}

function taskStatusEvents(view: View, before: TaskStatus | undefined, after: TaskStatus | undefined): readonly Draft[] {
  const task = after === undefined ? undefined : view.get('task', after.taskId)?.value;
  if (after === undefined || task === undefined) return [];
  const base = baseOfTask(view, task);
  const attributes = {
    ...base.attributes,
    ...reason(after.error ?? ''),
    ...(after.exitCode === undefined ? {} : { exitCode: String(after.exitCode) }),
  };
  if (before?.state !== after.state) {
    return [
      {
        ...base,
        action: after.state,
        attributes: { ...attributes, ...pair('state', before?.state ?? '', after.state) },
      },
    ];
  }
  if (before.healthy === after.healthy) return [];
  return [{ ...base, action: after.healthy ? 'healthy' : 'unhealthy', attributes }];
}

function imageEvents(before: Image | undefined, after: Image | undefined): readonly Draft[] {
  const image = after ?? before;
  if (image === undefined) return [];
  const base = { type: 'image', id: image.digest, name: image.reference } as const;
  if (before === undefined) return [{ ...base, action: 'create', attributes: {} }];
  if (after === undefined) return [{ ...base, action: 'remove', attributes: {} }];
  return [{ ...base, action: 'update', attributes: pair('digest', before.digest, after.digest) }];
}

function baseOfTask(view: View, task: Task): Omit<Draft, 'action'> {
  const service = serviceNameOf(view, task);
  return {
    type: 'task',
    id: task.id,
    name: `${service}.${task.slot}`,
    attributes: {
      service,
      slot: String(task.slot),
      ...(task.nodeId === undefined ? {} : { node: nodeNameOf(view, task.nodeId as NodeId) }),
    },
  };
}

/** `KEY.old` and `KEY.new`, when they differ. */
function pair(key: string, before: string, after: string): Readonly<Record<string, string>> {
  return before === after ? {} : { [`${key}.old`]: before, [`${key}.new`]: after };
}

function reason(text: string): Readonly<Record<string, string>> {
  return text === '' ? {} : { reason: text };
}
