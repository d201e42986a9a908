/** The single steps that slots are mended with, whether one task is in them or two. */
import type { Instant } from '../../common/model/ids.ts';
import { check, type Unit } from '../store/store.ts';
import { holdOn, released } from './release.ts';
import { causeOf, type RestartVerdict, restartVerdict } from './restart.ts';
import { contentsOf, type Member, type Scene, type Slot } from './scene.ts';
import { likeness, type Succession, succession } from './successor.ts';

/** At most one unit for a slot at a time; the next decision sees what it did. */
export interface Mending {
  readonly unit?: Unit;
  readonly wakeAt?: Instant;
}

/** Lets a held task go when nothing holds it any more. */
export function release(scene: Scene, slot: Slot, member: Member): Mending {
  if (member.task.desired !== 'ready') return {};
  const hold = holdOn(slot, member.task.notBefore, scene.now);
  if (hold === undefined) return { unit: released(slot, member, scene.now) };
  return hold.wakeAt === undefined ? {} : { wakeAt: hold.wakeAt };
}

/** Judges a dead, wanted member by the policy it was made with. */
export function verdictOn(scene: Scene, member: Member): RestartVerdict {
  if (member.status === undefined) return { kind: 'leave', because: 'it never reported' };
  return restartVerdict(member.task, member.status, contentsOf(scene, member.task).template.restart);
}

/** The unit that follows a death; `beside`: the older task of the slot that goes on, and whether the new one waits for its end. */
export function restart(
  scene: Scene,
  slot: Slot,
  member: Member,
  verdict: Extract<RestartVerdict, { kind: 'replace' }>,
  beside: Pick<Succession, 'keeps' | 'isHeld'> = {},
): Unit {
  const because = member.status === undefined ? 'ended' : causeOf(member.status);
  const unit = succession(scene, slot, {
    ...likeness(scene, member),
    origin: 'restart',
    restarts: verdict.restarts,
    notBefore: verdict.notBefore,
    stops: [{ member, because }],
    ...beside,
  });
  return [...unit, check('task-status', member.task.id, member.statusRev)];
}
