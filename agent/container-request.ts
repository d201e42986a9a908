/** What the runtime is asked for one run of a task, and what its labels tell a later agent. Pure. */
import type { TaskId } from '../common/model/ids.ts';
import type { HealthCheck, Labels } from '../common/model/service.ts';
import { taskName } from '../common/model/task.ts';
import type { Assignment } from './assignment.ts';
import type { UnpackedImage } from './image/image.ts';
import type { Attachment } from './network/network.ts';
import type { Container, ContainerImage, CreateRequest, PlacedFile, StopRequest } from './runtime/runtime.ts';

const TASK = 'covey.task';
const RUN = 'covey.run';
const HEALTH = 'covey.health';
const STOP_SIGNAL = 'covey.stop-signal';
/** Docker's short form of an id. */
const SHORT_ID = 12;

/** The id of a run's container: the task's, with the run's number from the second on. */
export function containerId(taskId: TaskId, run: number): string {
  return run === 1 ? taskId : `${taskId}.${run}`;
}

/** The hostname of a task whose template names none. */
export function hostnameOf(held: Assignment): string {
  return held.revision.template.container.hostname ?? held.task.id.slice(0, SHORT_ID);
}

/** The request for run `run`. */
export function createRequest(
  held: Assignment,
  run: number,
  image: UnpackedImage,
  files: readonly PlacedFile[],
): CreateRequest {
  const { task, revision } = held;
  const { container, limits } = revision.template;
  const { config } = image;
  return {
    id: containerId(task.id, run),
    image: runtimeImage(image),
    template: container,
    limits,
    hostname: hostnameOf(held),
    files,
    labels: {
      [TASK]: task.id,
      [RUN]: String(run),
      'covey.service': task.serviceId,
      'covey.name': taskName(revision.serviceName, task),
      [STOP_SIGNAL]: container.stopSignal ?? config.stopSignal,
      ...(config.health === undefined ? {} : { [HEALTH]: JSON.stringify(config.health) }),
    },
  };
}

/** What an agent reads from a container's labels, also from one that another agent process made. */
export interface ContainerNote {
  readonly taskId: TaskId;
  readonly run: number;
  readonly imageCheck?: HealthCheck;
  readonly stopSignal: string;
}

/** Undefined for a container that no task made. */
export function noteOf(labels: Labels): ContainerNote | undefined {
  const taskId = labels[TASK];
  const run = Number(labels[RUN]);
  if (taskId === undefined || !Number.isInteger(run)) return undefined;
  const check = labels[HEALTH];
  return {
    taskId: taskId as TaskId,
    run,
    stopSignal: labels[STOP_SIGNAL] ?? '',
    ...(check === undefined ? {} : { imageCheck: JSON.parse(check) as HealthCheck }),
  };
}

/** What the runtime needs of an image. */
export function runtimeImage({ layers, config }: UnpackedImage): ContainerImage {
  const { entrypoint, cmd, env, workdir, user, stopSignal } = config;
  return { layers, entrypoint, cmd, env, workdir, user, stopSignal };
}

/** How the container is asked to go. */
export function stopRequest(held: Assignment, container: Container): StopRequest {
  return {
    stopSignal: noteOf(container.labels)?.stopSignal ?? '',
    graceMs: held.revision.template.container.stopGraceMs,
  };
}

/** The task's place in the network; undefined when it was given no address. */
export function attachmentOf({ task, revision }: Assignment): Attachment | undefined {
  if (task.address === undefined) return undefined;
  const hostPorts = revision.ports
    .filter((port) => port.mode === 'host')
    .map(({ protocol, published, target }) => ({ protocol, published, target }));
  const { networkEgressBits: egressBits = 0, networkIngressBits: ingressBits = 0 } = revision.template.limits;
  const rate = egressBits === 0 && ingressBits === 0 ? {} : { rate: { egressBits, ingressBits } };
  return { taskId: task.id, address: task.address, hostPorts, ...rate };
}
