/** Builds the units that put one task in the place of another: the old one is told to stop in the same unit, or kept beside it. */
import type { Instant, TaskId } from '../../common/model/ids.ts';
import { NO_RESTARTS, type RestartCount, type Task, type TaskOrigin } from '../../common/model/task.ts';
import { check, put, type Unit, type Write } from '../store/store.ts';
import { proofOf } from './footing.ts';
import { holdOn, silenceProofs } from './release.ts';
import { type Member, revisionFor, type Scene, type Slot, unchanged } from './scene.ts';

/** A task told to stop, and why. */
interface Farewell {
  readonly member: Member;
  readonly because: string;
}

/** What is to come into a slot, and what it takes the place of. */
export interface Succession {
  readonly origin: TaskOrigin;
  readonly revision: number;
  readonly restarts: RestartCount;
  readonly rollout?: number | undefined;
  readonly notBefore?: Instant | undefined;
  /** Told to stop at once. */
  readonly stops: readonly Farewell[];
  /** Stays wanted: start-first until the new one serves, stop-first until the new one is prepared. */
  readonly keeps?: Member | undefined;
  /** Stop-first beside `keeps`: held even though nothing that was told to stop may still run. */
  readonly isHeld?: boolean;
}

/** One atomic unit: the old ones are told to stop, the new one is made, held back if it has to be. */
export function succession(scene: Scene, slot: Slot, coming: Succession): Unit {
  const stopped = coming.stops.map((farewell) => farewell.member);
  const hold = holdOn(slot, coming.notBefore, scene.now, stopped);
  const replaces = coming.keeps?.task.id ?? heir(slot, stopped, hold?.holders ?? []);
  const isReleased = hold === undefined && coming.isHeld !== true;
  const task: Task = {
    id: scene.tick.newTaskId(),
    serviceId: scene.service.id,
    slot: slot.number,
    revision: coming.revision,
    desired: isReleased ? 'running' : 'ready',
    origin: coming.origin,
    createdAt: bornAt(scene),
    desiredAt: scene.now,
    restarts: coming.restarts,
    ...(coming.notBefore === undefined || hold === undefined ? {} : { notBefore: coming.notBefore }),
    ...(replaces === undefined ? {} : { replaces }),
    ...(coming.rollout === undefined ? {} : { rollout: coming.rollout }),
  };
  const kept = coming.keeps === undefined ? [] : [check('task', coming.keeps.task.id, coming.keeps.rev)];
  return [
    ...coming.stops.map((farewell) => stopOf(scene, farewell)),
    put('task', task.id, task, 0),
    check('service', scene.service.id, scene.serviceRev),
    ...kept,
    ...(isReleased ? silenceProofs(slot) : []),
  ];
}

/** Whom the new task follows: the one it waits for, else the newest that it puts an end to. */
function heir(slot: Slot, stopped: readonly Member[], holders: readonly Member[]): TaskId | undefined {
  const followed = stopped.find((member) => holders.includes(member)) ?? holders.at(-1) ?? stopped.at(-1);
  return (followed ?? slot.members.at(-1))?.task.id;
}

function stopOf(scene: Scene, { member, because }: Farewell): Write {
  const task: Task = { ...member.task, desired: 'shutdown', desiredAt: scene.now, because };
  return put('task', task.id, task, member.rev);
}

/** A unit that only tells a task to stop; it holds only while `trusted`, on whom the slot then rests, is as seen. */
export function stopping(scene: Scene, farewell: Farewell, trusted?: Member): Unit {
  const trust = trusted === undefined ? [] : unchanged(trusted);
  return [stopOf(scene, farewell), ...trust];
}

/** A successor of the same kind elsewhere: its budget and its rollout go with it, a held one stays held. */
export function move(scene: Scene, slot: Slot, member: Member, because: string): Unit {
  return [
    ...succession(scene, slot, { ...likeness(scene, member), origin: 'move', stops: [{ member, because }] }),
    ...proofOf(member.task, member.ground),
  ];
}

/** The parts that a successor has from the task before it. */
export function likeness(
  scene: Scene,
  member: Member,
): Pick<Succession, 'revision' | 'restarts' | 'rollout' | 'notBefore'> {
  const { task } = member;
  const revision = revisionFor(scene, member);
  return {
    revision,
    restarts: task.restarts,
    rollout: revision === task.revision ? task.rollout : undefined,
    notBefore: task.desired === 'ready' ? task.notBefore : undefined,
  };
}

/** The first task of a slot. */
export function firstTask(scene: Scene, slot: number): Task {
  return {
    id: scene.tick.newTaskId(),
    serviceId: scene.service.id,
    slot,
    revision: scene.service.revision,
    desired: 'running',
    origin: 'create',
    createdAt: bornAt(scene),
    desiredAt: scene.now,
    restarts: NO_RESTARTS,
  };
}

// A new leader's clock may be behind: a task of a rollout must never seem older than the rollout.
function bornAt(scene: Scene): Instant {
  return Math.max(scene.now, scene.rollout?.value.startedAt ?? 0);
}
