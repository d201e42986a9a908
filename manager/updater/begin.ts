/** When a rollout begins: the service's revision is not the one that was last rolled out, and tasks show it. */
import type { Rollout, RolloutState } from '../../common/model/rollout.ts';
import { type Scene, sceneOf } from '../orchestrator/scene.ts';
import { NOTHING, type Plan } from '../reconcile.ts';
import { check, put } from '../store/store.ts';
import { completed, started } from './words.ts';

/**
 * A rollout to the service's revision. The first creation of a service makes none; an update that leaves every task as
 * it is makes one that is completed, so that whoever waits for it sees its end.
 */
export function begin(scene: Scene): Plan {
  const total = dirtySlots(scene);
  if (total === 0 && scene.rollout === undefined && scene.service.previous === undefined) return NOTHING;
  const state: RolloutState = scene.service.rolledBack ? 'rollback_started' : 'updating';
  const running = rolloutTo(scene, state, total, started(state));
  const value: Rollout = total > 0 ? running : ended(running, scene);
  return {
    units: [
      [
        put('rollout', scene.service.id, value, scene.rollout?.rev ?? 0),
        check('service', scene.service.id, scene.serviceRev),
      ],
    ],
  };
}

/** A rollout that starts now. */
export function rolloutTo(scene: Scene, state: RolloutState, total: number, message: string): Rollout {
  return {
    serviceId: scene.service.id,
    target: scene.service.revision,
    state,
    startedAt: scene.now,
    message,
    total,
    done: [],
    failed: [],
    progressAt: scene.now,
  };
}

/** The slots that have a task which is not what the service wants. */
export function dirtySlots(scene: Scene): number {
  let count = 0;
  for (const slot of scene.slots.values()) if (slot.wanted.some((member) => member.isDirty)) count += 1;
  return count;
}

/** The scene as it would be with another spec in force. */
export function asIf(scene: Scene, service: Scene['service']): Scene {
  return sceneOf(scene.view, { value: service, rev: scene.serviceRev }, scene.tick);
}

function ended(rollout: Rollout, scene: Scene): Rollout {
  const state: RolloutState = rollout.state === 'rollback_started' ? 'rollback_completed' : 'completed';
  return { ...rollout, state, completedAt: scene.now, message: completed(rollout.state) };
}
