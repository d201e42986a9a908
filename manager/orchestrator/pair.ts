/**
 * A slot with two wanted tasks: one is to take over from the other (docs/adr/0003, 0004).
 *
 * Start-first the new one starts, then the old one stops. The rule that this serves: the last healthy task of a slot is
 * never stopped, whoever began the change: an update, a rollback, a drain or a node that no longer fits. A stop-first
 * update stops the old one first, but not before the new one is prepared where it is to run.
 */
import { rank } from '../../common/model/task.ts';
import { check, type Write } from '../store/store.ts';
import { isDead, isServing, type Member, policyInForce, type Scene, type Slot } from './scene.ts';
import { type Mending, release, restart, verdictOn } from './steps.ts';
import { likeness, stopping, succession } from './successor.ts';

/**
 * How long a successor may be without a place before a task that has to leave its node is stopped all the same: its own
 * resources or host ports may be what the successor needs.
 */
const MOVE_PATIENCE_MS = 30_000;
/** After so many failures in a row of the successor, a task that has to leave is stopped all the same: a drain must end. */
const MOVE_ATTEMPTS_MAX = 3;

/** Brings the takeover from `old` to `young` forward by one step. */
export function mendPair(scene: Scene, slot: Slot, old: Member, young: Member): Mending {
  // A held one serves nobody: there is nothing to lose with it.
  if (young.isDirty && !old.isDirty && (isServing(old) || young.task.desired === 'ready')) {
    return { unit: stopping(scene, { member: young, because: 'rolled back' }, old) };
  }
  if (isServing(young)) return { unit: stopping(scene, { member: old, because: reason(old, young) }, young) };
  const isLeft = isDead(old) || old.footing.kind === 'silent' || old.footing.kind === 'gone';
  if (isLeft) return { unit: stopping(scene, { member: old, because: 'its successor takes over' }) };
  if (isDead(young) && young.state !== 'orphaned') return successorDied(scene, slot, old, young);
  return successorLives(scene, slot, old, young);
}

function successorDied(scene: Scene, slot: Slot, old: Member, young: Member): Mending {
  const isHopeless = mustLeave(old, young) && young.task.restarts.streak >= MOVE_ATTEMPTS_MAX;
  const verdict = verdictOn(scene, young);
  if (verdict.kind === 'replace' && !isHopeless) {
    const unit = restart(scene, slot, young, verdict, { keeps: old, isHeld: takesTurns(scene, old, young) });
    return { unit: [...unit, sameRollout(scene)] };
  }
  if (!mustLeave(old, young)) return {};
  const because = `${reason(old, young)}; its successor could not be started`;
  return { unit: stopping(scene, { member: old, because }) };
}

function successorLives(scene: Scene, slot: Slot, old: Member, young: Member): Mending {
  const { footing } = young;
  switch (footing.kind) {
    case 'shaky':
      return { wakeAt: footing.until };
    case 'drained':
    case 'silent':
    case 'gone': {
      const stops = [{ member: young, because: footing.because }];
      const isHeld = takesTurns(scene, old, young);
      const coming = { ...likeness(scene, young), origin: 'move', stops, keeps: old, isHeld } as const;
      return { unit: [...succession(scene, slot, coming), sameRollout(scene)] };
    }
    case 'firm':
      return isStillToStart(scene, old, young) ? handOver(scene, old, young) : releaseBeside(scene, slot, young);
    case 'unbound':
      return isStillToStart(scene, old, young) ? handOver(scene, old, young) : unplaced(scene, slot, old, young);
  }
}

/** True where the old task has to end before the new one starts: in a stop-first update. */
function takesTurns(scene: Scene, old: Member, young: Member): boolean {
  return isUpdate(old, young) && policyInForce(scene).order === 'stop-first';
}

/** One that has been started beside the old one, before the order was changed, goes on. */
function isStillToStart(scene: Scene, old: Member, young: Member): boolean {
  return young.task.desired === 'ready' && takesTurns(scene, old, young);
}

/**
 * Stops the old task when the new one has all that it needs to start, or has no place: the old one's resources, host
 * ports or its seat below the limit per node may be what it needs. The slot's release then waits for the end.
 */
function handOver(scene: Scene, old: Member, young: Member): Mending {
  const { id, nodeId, pending, notBefore } = young.task;
  const isDue = nodeId === undefined ? pending !== undefined : rank(young.state) >= rank('ready');
  if (!isDue) return {};
  if (notBefore !== undefined && notBefore > scene.now) return { wakeAt: notBefore };
  const because = scene.service.rolledBack ? 'rolled back' : 'updated';
  const unit = [...stopping(scene, { member: old, because }, young), check('task', id, young.rev), ...sameOrder(scene)];
  return { unit };
}

function releaseBeside(scene: Scene, slot: Slot, young: Member): Mending {
  const step = release(scene, slot, young);
  return step.unit === undefined ? step : { unit: [...step.unit, ...sameOrder(scene)] };
}

/** Holds only while the order of replacing is as it was seen. */
function sameOrder(scene: Scene): readonly Write[] {
  return [check('service', scene.service.id, scene.serviceRev), sameRollout(scene)];
}

function sameRollout(scene: Scene): Write {
  return check('rollout', scene.service.id, scene.rollout?.rev ?? 0);
}

function unplaced(scene: Scene, slot: Slot, old: Member, young: Member): Mending {
  const step = releaseBeside(scene, slot, young);
  if (step.unit !== undefined || !mustLeave(old, young) || young.task.pending === undefined) return step;
  const until = young.task.createdAt + MOVE_PATIENCE_MS;
  if (until > scene.now) return { wakeAt: Math.min(until, step.wakeAt ?? until) };
  return { unit: stopping(scene, { member: old, because: `${reason(old, young)}; ${young.task.pending}` }) };
}

/** A task has to leave when its node is drained, or when its successor is no other than itself elsewhere; one being updated may stay. */
function mustLeave(old: Member, young: Member): boolean {
  return old.footing.kind === 'drained' || !isUpdate(old, young);
}

/** Changed labels may make an old task fit again: then it is the rollout that made the new one which tells. */
function isUpdate(old: Member, young: Member): boolean {
  return old.task.revision !== young.task.revision && (old.isDirty || young.task.rollout !== undefined);
}

function reason(old: Member, young: Member): string {
  if (isUpdate(old, young)) return 'updated';
  return old.footing.kind === 'drained' ? old.footing.because : 'moved to another node';
}
