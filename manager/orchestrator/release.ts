/**
 * When a held task may start: the only rule of Covey for it (no overlap after a fixed time).
 *
 * A task is held by `desired: ready`; its agent prepares it meanwhile. It is released when its time has come and no task
 * of the slot that was told to stop may still be running.
 */
import type { Instant } from '../../common/model/ids.ts';
import { isWanted } from '../../common/model/task.ts';
import { put, type Unit, type Write } from '../store/store.ts';
import { proofOf } from './footing.ts';
import { isDead, type Member, mayRun, type Slot } from './scene.ts';

/** What a held task waits for. With `holders` and no `wakeAt` only a change in the store can release it. */
export interface Hold {
  readonly holders: readonly Member[];
  readonly wakeAt?: Instant;
}

/**
 * What keeps a task of this slot from starting; undefined: nothing.
 * @param stops tasks that the same unit tells to stop
 */
export function holdOn(
  slot: Slot,
  notBefore: Instant | undefined,
  now: Instant,
  stops: readonly Member[] = [],
): Hold | undefined {
  const leaving = slot.members.filter((member) => !isWanted(member.task) || stops.includes(member));
  const holders = leaving.filter(mayRun);
  const times = holders.flatMap(({ footing }) => (footing.kind === 'shaky' ? [footing.until] : []));
  if (notBefore !== undefined && notBefore > now) times.push(notBefore);
  if (times.length === 0) return holders.length === 0 ? undefined : { holders };
  return { holders, wakeAt: Math.min(...times) };
}

/** The unit that lets a held task start. */
export function released(slot: Slot, held: Member, now: Instant): Unit {
  return [
    put('task', held.task.id, { ...held.task, desired: 'running', desiredAt: now }, held.rev),
    ...silenceProofs(slot),
  ];
}

/** A start rests on the nodes whose silence is taken for a stop: it must not happen when one of them is back. */
export function silenceProofs(slot: Slot): readonly Write[] {
  const silenced = slot.members.filter((member) => !isWanted(member.task) && !isDead(member) && !mayRun(member));
  const proofs = new Map<string, Write>();
  for (const member of silenced) {
    for (const proof of proofOf(member.task, member.ground)) proofs.set(`${proof.kind}/${proof.id}`, proof);
  }
  return [...proofs.values()].slice(0, PROOFS_MAX);
}

/** A slot's silent leavers that one unit can name beside its writes; history keeps them far fewer. */
const PROOFS_MAX = 16;
