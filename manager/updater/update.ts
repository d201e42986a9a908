/**
 * Rolls services to a new revision, slot by slot (docs/adr/0004).
 *
 * In go a service whose revision is not what its tasks were made from, and how those tasks do; out go replacements, as many
 * at a time as the policy allows, and the rollout's own state. It never restarts, releases or ends a pair (the
 * orchestrator's), and never starts a slot in a plan that also changes the rollout: every start checks the state of the
 * rollout that it was decided under.
 */
import type { Instant, Revision } from '../../common/model/ids.ts';
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import type { Service, UpdatePolicy } from '../../common/model/service.ts';
import { NO_RESTARTS } from '../../common/model/task.ts';
import { allServices, servicesOf } from '../orchestrator/keys.ts';
import { isServing, policyInForce, type Scene, type Slot, sceneOf, unchanged } from '../orchestrator/scene.ts';
import { succession } from '../orchestrator/successor.ts';
import { NOTHING, type Plan, type Reconciler } from '../reconcile.ts';
import { check, put, type Unit, type View } from '../store/store.ts';
import { begin } from './begin.ts';
import { failureAction, isTooMany } from './fail.ts';
import { dueAt, newFailures, type Stand, standOf } from './progress.ts';
import { completed, deadlineReason, failureReason } from './words.ts';

/** The reconciler of rolling updates and rollbacks; key = service id. */
export const update: Reconciler = {
  name: 'update',
  keysOf: servicesOf,
  allKeys: allServices,
  decide(view, key, tick) {
    const service = view.get('service', key);
    if (service === undefined) return NOTHING;
    const rollout = view.get('rollout', key);
    const isNew = rollout?.value.target !== service.value.revision;
    // Most services are not being updated; for them this must cost next to nothing.
    if (isNew ? rollout === undefined && isFresh(view, service.value) : isSettled(rollout.value.state)) return NOTHING;
    const scene = sceneOf(view, service, tick);
    return isNew ? begin(scene) : advance(scene, rollout.value, rollout.rev);
  },
};

/** True for a service that was never updated: nothing to go back to, and all tasks from the revision in force. */
function isFresh(view: View, service: Service): boolean {
  if (service.previous !== undefined) return false;
  for (const task of view.tasksOf(service.id)) if (task.value.revision !== service.revision) return false;
  return true;
}

function advance(scene: Scene, rollout: Rollout, rev: Revision): Plan {
  const policy = policyInForce(scene);
  const failures = newFailures(scene, rollout, policy);
  const stands = standsOf(scene, rollout, policy);
  const noted = note(scene, rollout, stands, failures);
  if (isTooMany(noted, policy)) {
    const [failure] = failures;
    const reason = failure === undefined ? 'as too many slots failed' : failureReason(scene, failure);
    const plan = failureAction(scene, noted, rev, { reason, policy, cause: 'failures' });
    if (plan !== undefined) return plan;
  }
  if (stands.every(({ kind }) => kind === 'holds' || kind === 'settled')) return finish(scene, noted, rev);
  if (noted !== rollout) return { units: [[put('rollout', scene.service.id, noted, rev)]] };
  return overdue(scene, rollout, rev, { policy, stands }) ?? pace(scene, rollout, rev, { policy, stands });
}

function standsOf(scene: Scene, rollout: Rollout, policy: UpdatePolicy): readonly Stand[] {
  const live = [...scene.slots.values()].filter((slot) => slot.wanted.length > 0);
  return live.sort((a, b) => a.number - b.number).map((slot) => standOf(scene, rollout, policy, slot));
}

/** The rollout with what is new about its slots; the same object when nothing is. */
function note(
  scene: Scene,
  rollout: Rollout,
  stands: readonly Stand[],
  failures: ReturnType<typeof newFailures>,
): Rollout {
  const held = stands.flatMap((stand) => (stand.kind === 'holds' ? [stand.slot.number] : []));
  if (held.length === 0 && failures.length === 0) return rollout;
  return {
    ...rollout,
    done: [...rollout.done, ...held],
    failed: [...rollout.failed, ...failures.map(({ slot, member }) => ({ slot, taskId: member.task.id }))],
    progressAt: held.length === 0 ? rollout.progressAt : scene.now,
    lastDoneAt: scene.now,
  };
}

function finish(scene: Scene, rollout: Rollout, rev: Revision): Plan {
  const value: Rollout = {
    ...rollout,
    state: rollout.state === 'rollback_started' ? 'rollback_completed' : 'completed',
    completedAt: scene.now,
    message: completed(rollout.state),
  };
  return { units: [[put('rollout', scene.service.id, value, rev), sameService(scene)]] };
}

interface Standing {
  readonly policy: UpdatePolicy;
  readonly stands: readonly Stand[];
}

/** The failure action, when some slot has got no further for longer than the policy's deadline. */
function overdue(scene: Scene, rollout: Rollout, rev: Revision, { policy, stands }: Standing): Plan | undefined {
  for (const stand of stands) {
    const due = dueAt(rollout, policy, stand);
    if (due === undefined || due > scene.now || (stand.kind !== 'flying' && stand.kind !== 'open')) continue;
    const reason = deadlineReason(scene, stand.slot.number, stand.current, policy.progressDeadlineMs);
    // A slot that the rollout did not make (it came from scaling up) is no reason to take the others back.
    const isOurs = stand.current.task.rollout === rollout.target;
    return failureAction(scene, rollout, rev, { reason, policy, cause: isOurs ? 'deadline' : 'stranger' });
  }
  return undefined;
}

/** Slots a plan starts at most; the next plan starts the rest of a huge service. */
const STARTS_MAX = 1_000;

/** Starts as many slots as there are places, or says when to look again. */
function pace(scene: Scene, rollout: Rollout, rev: Revision, { policy, stands }: Standing): Plan {
  const places = policy.parallelism === 0 ? Number.POSITIVE_INFINITY : policy.parallelism;
  const open = places - stands.filter((stand) => stand.kind === 'flying').length;
  const waiting = stands.flatMap((stand) => (stand.kind === 'waiting' ? [stand.slot] : []));
  const from = rollout.lastDoneAt === undefined ? scene.now : rollout.lastDoneAt + policy.delayMs;
  const wakes = stands.flatMap((stand) => wakesOf(rollout, policy, stand));
  if (waiting.length > 0 && open > 0 && from <= scene.now) {
    const chosen = waiting
      .sort((a, b) => worth(a) - worth(b) || a.number - b.number)
      .slice(0, Math.min(open, STARTS_MAX));
    const units = chosen.map((slot) => replaced(scene, slot, policy, rev));
    return { units };
  }
  if (waiting.length > 0 && open > 0) wakes.push(from);
  const later = wakes.filter((at) => at > scene.now);
  return later.length === 0 ? NOTHING : { units: [], wakeAt: Math.min(...later) };
}

function wakesOf(rollout: Rollout, policy: UpdatePolicy, stand: Stand): Instant[] {
  const due = dueAt(rollout, policy, stand);
  const wakes = due === undefined ? [] : [due];
  if ((stand.kind === 'flying' || stand.kind === 'open') && stand.holdsAt !== undefined) wakes.push(stand.holdsAt);
  return wakes;
}

/** Slots that serve nobody go first, then those that have to leave their node, then the others. */
function worth(slot: Slot): number {
  const serving = slot.wanted.find(isServing);
  if (serving === undefined) return 0;
  return serving.footing.kind === 'drained' ? 1 : 2;
}

/**
 * What serves is spared: start-first until the new one serves, stop-first until it is prepared (`pair.ts` ends both).
 * Where none serves there is nothing to spare.
 */
function replaced(scene: Scene, slot: Slot, policy: UpdatePolicy, rev: Revision): Unit {
  const keeps = slot.wanted.find(isServing);
  const because = scene.service.rolledBack ? 'rolled back' : 'updated';
  const unit = succession(scene, slot, {
    origin: 'update',
    revision: scene.service.revision,
    restarts: NO_RESTARTS,
    rollout: scene.service.revision,
    stops: slot.wanted.filter((member) => member !== keeps).map((member) => ({ member, because })),
    keeps,
    isHeld: keeps !== undefined && policy.order === 'stop-first',
  });
  // What does not serve now may do so before this is committed: then it would be the one to spare.
  return [...unit, check('rollout', scene.service.id, rev), ...slot.wanted.flatMap(unchanged)];
}

function sameService(scene: Scene): Unit[number] {
  return check('service', scene.service.id, scene.serviceRev);
}
