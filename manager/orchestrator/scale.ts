/** Brings the number of slots to the number of replicas. Source: swarmkit, replicated orchestrator. */
import type { NodeId } from '../../common/model/ids.ts';
import { check, put, remove, UNIT_WRITES_MAX, type Unit, type Write } from '../store/store.ts';
import { isDead, type Member, type Scene, type Slot } from './scene.ts';
import { firstTask } from './successor.ts';

/** What scaling wants done; `leaving` slots are nobody else's business any more. */
interface Resize {
  readonly units: readonly Unit[];
  readonly leaving: ReadonlySet<number>;
}

/** New tasks a plan makes at most, so that one huge service does not hold up the loop; the next plan makes the rest. */
const CREATIONS_MAX = 2_000;
/** Leaves room for the checks that go with the writes of one unit. */
const WRITES_PER_UNIT = UNIT_WRITES_MAX - 8;

/** Creates missing slots, lowest free number first, or takes away those that are too many. */
export function resize(scene: Scene): Resize {
  const { replicas } = scene.service.spec.mode;
  const slots = [...scene.slots.values()];
  const taken = slots.filter((slot) => slot.wanted.length > 0);
  const surplus = taken.length - replicas;
  const leaving = surplus > 0 ? leavers(taken, surplus) : [];
  const idle = slots.filter((slot) => slot.wanted.length === 0);
  return {
    units: [...leaving, ...idle]
      .flatMap((slot) => removal(scene, slot))
      .concat(surplus < 0 ? creation(scene, -surplus) : []),
    leaving: new Set([...leaving, ...idle].map((slot) => slot.number)),
  };
}

function creation(scene: Scene, missing: number): readonly Unit[] {
  const writes = freeNumbers(scene.slots, Math.min(missing, CREATIONS_MAX)).map((number) => {
    const task = firstTask(scene, number);
    return put('task', task.id, task, 0);
  });
  return packed(writes, [check('service', scene.service.id, scene.serviceRev)]);
}

/** The lowest numbers in whose slot nothing is left that is wanted or still stopping. */
function freeNumbers(slots: ReadonlyMap<number, Slot>, count: number): readonly number[] {
  const free: number[] = [];
  for (let number = 1; free.length < count; number += 1) {
    const slot = slots.get(number);
    if (slot === undefined || (slot.wanted.length === 0 && slot.members.every(isDead))) free.push(number);
  }
  return free;
}

/** The tasks of a slot that is given up keep no history: they are stopped, then deleted. */
function removal(scene: Scene, slot: Slot): readonly Unit[] {
  const kept = slot.members.filter((member) => member.task.desired !== 'remove');
  const writes = kept.map(({ task, rev }) =>
    put('task', task.id, { ...task, desired: 'remove', desiredAt: scene.now, because: 'scaled down' }, rev),
  );
  return packed(writes, [check('service', scene.service.id, scene.serviceRev)]);
}

/** Writes in units that are small enough, each with the same checks. */
export function packed(writes: readonly Write[], checks: readonly Write[] = []): readonly Unit[] {
  const units: Unit[] = [];
  for (let at = 0; at < writes.length; at += WRITES_PER_UNIT) {
    units.push([...writes.slice(at, at + WRITES_PER_UNIT), ...checks]);
  }
  return units;
}

interface Candidate {
  readonly slot: Slot;
  /** The how-manieth copy on its node; Infinity when it has no seat to lose. */
  readonly copy: number;
  readonly runs: boolean;
}

/**
 * Which slots go. First those without a seat (not placed, dead, or mid-swap), then from the nodes with most copies;
 * among equals those that do not run, then the higher numbers.
 */
function leavers(taken: readonly Slot[], surplus: number): readonly Slot[] {
  const copies = new Map<NodeId, number>();
  const candidates: Candidate[] = [...taken]
    .sort((a, b) => Number(runs(b)) - Number(runs(a)) || a.number - b.number)
    .map((slot) => ({ slot, copy: copyOf(slot, copies), runs: runs(slot) }));
  const byEagerness = (a: Candidate, b: Candidate): number => {
    if (a.copy !== b.copy) return b.copy > a.copy ? 1 : -1;
    return Number(a.runs) - Number(b.runs) || b.slot.number - a.slot.number;
  };
  return candidates
    .sort(byEagerness)
    .slice(0, surplus)
    .map((candidate) => candidate.slot);
}

function copyOf(slot: Slot, copies: Map<NodeId, number>): number {
  const seated = seatedOf(slot);
  if (seated?.task.nodeId === undefined) return Number.POSITIVE_INFINITY;
  const copy = (copies.get(seated.task.nodeId) ?? 0) + 1;
  copies.set(seated.task.nodeId, copy);
  return copy;
}

function seatedOf(slot: Slot): Member | undefined {
  const [only, ...others] = slot.wanted;
  return only === undefined || others.length > 0 || isDead(only) ? undefined : only;
}

function runs(slot: Slot): boolean {
  return slot.wanted.some((member) => member.state === 'running');
}

/** A service that is gone: all its tasks are to be removed, its rollout is deleted. */
export function farewell(scene: Pick<Scene, 'view' | 'now'>, id: string): readonly Unit[] {
  const { view, now } = scene;
  const gone = check('service', id, 0);
  const writes: Write[] = [];
  for (const { value: task, rev } of view.tasksOf(id as Member['task']['serviceId'])) {
    if (task.desired === 'remove') continue;
    writes.push(put('task', task.id, { ...task, desired: 'remove', desiredAt: now, because: 'service removed' }, rev));
  }
  const rollout = view.get('rollout', id);
  const ending = rollout === undefined ? [] : [[remove('rollout', id, rollout.rev), gone]];
  return [...packed(writes, [gone]), ...ending];
}
