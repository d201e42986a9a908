/** One update of six replicas, two at a time, always the same but for when its leader dies. */

import { isSettled } from '../../common/model/rollout.ts';
import type { UpdateOrder } from '../../common/model/service.ts';
import { isWanted } from '../../common/model/task.ts';
import { aSpec, aTemplate, CONTAINER } from '../support/fixtures.ts';
import { SimCluster } from './cluster.ts';
import { Violation } from './world.ts';

export interface Recording {
  readonly order: UpdateOrder;
  readonly image: string;
}

export interface End {
  /** The rollout's state and every slot's revision and state, which must not depend on who led. */
  readonly state: readonly string[];
  /** Units that the leader committed from the update to its end. */
  readonly units: number;
  readonly leaders: number;
}

/** How long the update may take, leaders' deaths and all. */
const PATIENCE_MS = 10 * 60_000;

/** @param diesAfter  units after which the leader of the update ends; undefined: it lives */
export function playUpdate(recording: Recording, diesAfter: number | undefined): End {
  const cluster = new SimCluster({ seed: 7 });
  const { timeline } = cluster.world;
  cluster.lead();
  for (let i = 0; i < 4; i++) cluster.join();
  const service = cluster.users.create(specOf(recording));
  timeline.runUntil(timeline.now + 60_000);
  const before = cluster.manager?.unitsWritten ?? 0;
  const first = cluster.manager;
  cluster.users.update(service, (spec) => ({
    ...spec,
    template: aTemplate({ container: { ...CONTAINER, image: recording.image } }),
  }));
  if (diesAfter !== undefined) cluster.killLeaderAfter(diesAfter);
  const end = timeline.now + PATIENCE_MS;
  const isOver = (): boolean => {
    const rollout = cluster.world.view.get('rollout', service)?.value;
    const target = cluster.world.view.get('service', service)?.value.revision;
    return rollout !== undefined && rollout.target === target && isSettled(rollout.state);
  };
  while (!isOver()) {
    if (timeline.now >= end) throw new Violation(`the update is not over after ${PATIENCE_MS / 1_000} s`);
    timeline.runUntil(timeline.now + 1_000);
  }
  const units = (first?.unitsWritten ?? 0) - before;
  // The death may come with one of the very last commits; the cluster must then come to rest all the same.
  timeline.runUntil(timeline.now + 60_000);
  return { state: stateOf(cluster, service), units, leaders: cluster.leaders };
}

function specOf({ order }: Recording): ReturnType<typeof aSpec> {
  const policy = { ...aSpec('web').update, parallelism: 2, monitorMs: 2_000, order };
  return aSpec('web', {
    mode: { kind: 'replicated', replicas: 6 },
    template: aTemplate({ container: { ...CONTAINER, image: 'ok:1' } }),
    update: { ...policy, failureAction: 'rollback' },
    rollback: policy,
  });
}

function stateOf(
  { world: { view } }: SimCluster,
  service: Parameters<SimCluster['users']['rollback']>[0],
): readonly string[] {
  const { state = 'none', target = 0 } = view.get('rollout', service)?.value ?? {};
  const tasks = [...view.tasksOf(service)].map(({ value }) => value).filter(isWanted);
  const slots = tasks.map((task) => {
    const seen = view.get('task-status', task.id)?.value.state ?? 'nothing';
    return `slot ${task.slot}: revision ${task.revision}, ${task.desired}, ${seen}`;
  });
  return [`${state} of revision ${target}`, ...slots.sort()];
}
