/** The pictures of Control as messages. */

import type { Image } from '../../common/model/cluster.ts';
import type { Service } from '../../common/model/service.ts';
import { toImage, toManager } from '../../common/wire/cluster.ts';
import { toEpoch, toNode, toNodeStatus } from '../../common/wire/node.ts';
import { toRollout, toService } from '../../common/wire/service.ts';
import { toTask, toTaskStatus } from '../../common/wire/task.ts';
import { toPorts } from '../../common/wire/template.ts';
import { covey } from '../../proto/messages.ts';
import type { Removed } from '../images/manager-images.ts';
import type { NodeReason } from '../scheduler/explain.ts';
import type { Stored, View } from '../store/store.ts';
import { type ClusterReport, leadsHere } from './cluster.ts';
import { listNodes, type NodePicture } from './nodes.ts';
import type { ServiceProgress, Verdict } from './progress.ts';
import { isRunning, type TaskPicture } from './tasks.ts';

type V1<Name extends keyof Messages> = Messages[Name];
interface Messages {
  readonly service: covey.v1.ServiceView.$Properties;
  readonly task: covey.v1.TaskView.$Properties;
  readonly node: covey.v1.NodeView.$Properties;
  readonly progress: covey.v1.Progress.$Properties;
  readonly cluster: covey.v1.ClusterInfo.$Properties;
}

const VERDICTS: Readonly<Record<Verdict, covey.v1.Verdict>> = {
  waiting: covey.v1.Verdict.VERDICT_WAITING,
  converged: covey.v1.Verdict.VERDICT_CONVERGED,
  paused: covey.v1.Verdict.VERDICT_PAUSED,
  rolled_back: covey.v1.Verdict.VERDICT_ROLLED_BACK,
  removed: covey.v1.Verdict.VERDICT_REMOVED,
};

/** A service with its counts as of `view`. */
export function serviceMessage(view: View, service: Stored<Service>): V1<'service'> {
  let running = 0;
  for (const task of view.tasksOf(service.value.id)) if (isRunning(view, task)) running += 1;
  const rollout = view.get('rollout', service.value.id)?.value;
  return {
    service: toService(service.value),
    version: service.rev,
    ...(rollout === undefined ? {} : { rollout: toRollout(rollout) }),
    running,
    desired: service.value.spec.mode.replicas,
    warnings: [],
  };
}

/** A task as clients see it. */
export function taskMessage(picture: TaskPicture): V1<'task'> {
  const { task, status } = picture;
  return {
    task: toTask(task),
    ...(status === undefined ? {} : { status: toTaskStatus(status) }),
    state: picture.state,
    stateSince: picture.stateSince,
    name: `${picture.serviceName}.${task.slot}`,
    image: picture.image,
    nodeName: picture.nodeName,
    refusals: refusals(picture.refusals),
    ports: toPorts(picture.ports),
    serviceName: picture.serviceName,
  };
}

/** A node as clients see it. */
export function nodeMessage(view: View, picture: NodePicture): V1<'node'> {
  const { node, status } = picture;
  return {
    node: toNode(node.value),
    ...(status === undefined ? {} : { status: toNodeStatus(status) }),
    version: node.rev,
    leader: leadsHere(view, node.value.id),
    tasks: picture.tasks,
    reservedNanoCpus: picture.reservedNanoCpus,
    reservedMemoryBytes: picture.reservedMemoryBytes,
  };
}

/** All nodes. */
export function nodeMessages(view: View): V1<'node'>[] {
  return listNodes(view).map((picture) => nodeMessage(view, picture));
}

/** One picture of a service's way. */
export function progressMessage(progress: ServiceProgress): V1<'progress'> {
  return {
    verdict: VERDICTS[progress.verdict],
    message: progress.message,
    desired: progress.desired,
    running: progress.running,
    slots: progress.slots.map((slot) => ({
      slot: slot.slot,
      taskId: slot.taskId,
      state: slot.state,
      nodeName: slot.nodeName,
      message: slot.message,
      current: slot.current,
      refusals: refusals(slot.refusals),
    })),
    ...(progress.rollout === undefined ? {} : { rollout: toRollout(progress.rollout) }),
    cannotPlace: progress.cannotPlace,
    stableForMs: progress.stableForMs,
    stableNeedsMs: progress.stableNeedsMs,
  };
}

/** The cluster; never its keys or its join secret. */
export function clusterMessage(view: View, report: ClusterReport): V1<'cluster'> {
  const { cluster, leader } = report;
  return {
    id: cluster.id,
    createdAt: cluster.createdAt,
    leaderAddress: leader?.address ?? '',
    ...(leader === undefined ? {} : { epoch: toEpoch({ incarnation: cluster.incarnation, reign: leader.reign }) }),
    managers: report.managers.map((manager) => ({
      manager: toManager(manager),
      leader: manager.id === leader?.managerId,
    })),
    etcd: report.etcd,
    caDigest: report.caDigest,
    caExpiresAt: report.caExpiresAt,
    certificates: [...report.certificates],
    failoverAfterMs: cluster.failoverAfterMs,
    nodes: nodeMessages(view),
    storeRevision: report.storeRevision,
    logins: [...view.all('login')]
      .map(({ value: { registry, username } }) => ({ registry, username }))
      .toSorted((a, b) => (a.registry < b.registry ? -1 : 1)),
  };
}

/** What a removal took away. */
export function removedMessage({ untagged, deleted, reclaimedBytes }: Removed): covey.v1.RemovedImages.$Properties {
  return { untagged: [...untagged], deleted: [...deleted], reclaimedBytes };
}

/** Images as they are stored. */
export function imageMessages(images: readonly Image[]): covey.v1.ImageList.$Properties {
  return { images: images.map(toImage) };
}

function refusals(reasons: readonly NodeReason[]): covey.v1.NodeRefusal.$Properties[] {
  return reasons.map(({ nodeId, node, reason }) => ({ nodeId, hostname: node, reason }));
}
