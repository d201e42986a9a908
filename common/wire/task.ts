/** Tasks and their statuses, between the model and its messages. */
import type { covey } from '../../proto/messages.ts';
import type { NodeId, TaskId } from '../model/ids.ts';
import type { RestartCount, Run, Task, TaskStatus } from '../model/task.ts';
import { integer, integers, maybe, oneOf, present, text, within } from './fields.ts';

const DESIRED = ['ready', 'running', 'complete', 'shutdown', 'remove'] as const;
const ORIGINS = ['create', 'restart', 'update', 'move'] as const;
const REPORTED_STATES = [
  'accepted',
  'preparing',
  'ready',
  'starting',
  'running',
  'complete',
  'shutdown',
  'failed',
  'rejected',
] as const;

/** The task as a message. */
export function toTask(task: Task): covey.v1.Task.$Properties {
  return { ...task, restarts: { ...task.restarts, recent: [...task.restarts.recent] } };
}

/** The task of a message. @throws ClusterError `invalid` naming the field */
export function fromTask(message: covey.v1.Task.$Properties): Task {
  const restarts = present(message.restarts, 'restarts');
  return {
    id: text(message.id),
    serviceId: text(message.serviceId),
    slot: integer(message.slot, 'slot'),
    revision: integer(message.revision, 'revision'),
    desired: oneOf(message.desired, DESIRED, 'desired'),
    origin: oneOf(message.origin, ORIGINS, 'origin'),
    createdAt: integer(message.createdAt, 'createdAt'),
    desiredAt: integer(message.desiredAt, 'desiredAt'),
    restarts: within('restarts', () => fromRestarts(restarts)),
    ...maybe('nodeId', message.nodeId, text<NodeId>),
    ...maybe('address', message.address, text),
    ...maybe('assignedAt', message.assignedAt, integer),
    ...maybe('pending', message.pending, text),
    ...maybe('notBefore', message.notBefore, integer),
    ...maybe('replaces', message.replaces, text<TaskId>),
    ...maybe('rollout', message.rollout, integer),
    ...maybe('because', message.because, text),
  };
}

function fromRestarts(message: covey.v1.RestartCount.$Properties): RestartCount {
  return {
    total: integer(message.total, 'total'),
    recent: integers(message.recent, 'recent'),
    streak: integer(message.streak, 'streak'),
  };
}

/** The status as a message. */
export function toTaskStatus(status: TaskStatus): covey.v1.TaskStatus.$Properties {
  return { ...status, runs: status.runs.map((run) => ({ ...run })) };
}

/** The status of a message. @throws ClusterError `invalid` naming the field */
export function fromTaskStatus(message: covey.v1.TaskStatus.$Properties): TaskStatus {
  return {
    taskId: text(message.taskId),
    nodeId: text(message.nodeId),
    state: oneOf(message.state, REPORTED_STATES, 'state'),
    at: integer(message.at, 'at'),
    appliedAt: integer(message.appliedAt, 'appliedAt'),
    ...maybe('runningAt', message.runningAt, integer),
    message: text(message.message),
    ...maybe('error', message.error, text),
    ...maybe('exitCode', message.exitCode, integer),
    ...maybe('signal', message.signal, integer),
    oomKilled: message.oomKilled ?? false,
    ...maybe('pid', message.pid, integer),
    healthy: message.healthy ?? false,
    runs: (message.runs ?? []).map((run, index) => within(`runs[${index}]`, () => fromRun(run))),
  };
}

function fromRun(message: covey.v1.Run.$Properties): Run {
  return {
    number: integer(message.number, 'number'),
    startedAt: integer(message.startedAt, 'startedAt'),
    ...maybe('endedAt', message.endedAt, integer),
    ...maybe('exitCode', message.exitCode, integer),
  };
}
