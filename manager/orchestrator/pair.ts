/**
 * A slot with two wanted tasks: one is to take over from the other, first starting, then stopping. The last healthy task of a slot is never stopped (docs/adr/0003, 0004).
 *
 * The rule that all of this serves: the last healthy task of a slot is never stopped, whoever began the change:
 * an update, a rollback, a drain or a node that no longer fits.
 */
import { isDead, isServing, type Member, type Scene, type Slot } from './scene.ts';
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
  if (young.isDirty && !old.isDirty && isServing(old)) {
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
  if (verdict.kind === 'replace' && !isHopeless) return { unit: restart(scene, slot, young, verdict, old) };
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
      const coming = { ...likeness(scene, young), origin: 'move', stops, keeps: old } as const;
      return { unit: succession(scene, slot, coming) };
    }
    case 'firm':
      return release(scene, slot, young);
    case 'unbound':
      return unplaced(scene, slot, old, young);
  }
}

function unplaced(scene: Scene, slot: Slot, old: Member, young: Member): Mending {
  const step = release(scene, slot, young);
  if (step.unit !== undefined || !mustLeave(old, young) || young.task.pending === undefined) return step;
  const until = young.task.createdAt + MOVE_PATIENCE_MS;
  if (until > scene.now) return { wakeAt: Math.min(until, step.wakeAt ?? until) };
  return { unit: stopping(scene, { member: old, because: `${reason(old, young)}; ${young.task.pending}` }) };
}

/** A task has to leave when its node is drained, or when its successor is no other than itself elsewhere; one being updated may stay. */
function mustLeave(old: Member, young: Member): boolean {
  return old.footing.kind === 'drained' || !isUpdate(old, young);
}

function isUpdate(old: Member, young: Member): boolean {
  return old.isDirty && old.task.revision !== young.task.revision;
}

function reason(old: Member, young: Member): string {
  if (isUpdate(old, young)) return 'updated';
  return old.footing.kind === 'drained' ? old.footing.because : 'moved to another node';
}
