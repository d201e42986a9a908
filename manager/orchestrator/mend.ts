/** What one slot needs, once it is known that the slot stays: restart, move, release. Source: swarmkit, restart supervisor. */
import { proofOf } from './footing.ts';
import { mendPair } from './pair.ts';
import { isDead, isForUpdater, isServing, type Member, type Scene, type Slot, unchanged } from './scene.ts';
import { type Mending, release, restart, verdictOn } from './steps.ts';
import { likeness, move, stopping, succession } from './successor.ts';

/** What the slot needs now; nothing when it is as it should be. */
export function mend(scene: Scene, slot: Slot): Mending {
  const [first, second, ...more] = slot.wanted;
  if (first === undefined) return {};
  if (second === undefined) return mendOne(scene, slot, first);
  const last = more.at(-1);
  if (last === undefined) return mendPair(scene, slot, first, second);
  return { unit: stopping(scene, { member: second, because: 'replaced' }) };
}

function mendOne(scene: Scene, slot: Slot, member: Member): Mending {
  if (isDead(member) && member.state !== 'orphaned') return restarted(scene, slot, member);
  const { footing } = member;
  switch (footing.kind) {
    case 'unbound':
    case 'firm':
      return release(scene, slot, member);
    case 'shaky': {
      const { unit, wakeAt = footing.until } = release(scene, slot, member);
      return unit === undefined ? { wakeAt: Math.min(wakeAt, footing.until) } : { unit };
    }
    case 'drained':
      return isForUpdater(scene, member) ? release(scene, slot, member) : drained(scene, slot, member, footing.because);
    case 'silent':
    case 'gone':
      return { unit: move(scene, slot, member, footing.because) };
  }
}

/**
 * A drained node is emptied without an outage: what serves goes on serving until its successor does (`pair.ts` ends
 * that). What does not serve yet is moved at once.
 */
function drained(scene: Scene, slot: Slot, member: Member, because: string): Mending {
  if (!isServing(member)) return { unit: [...move(scene, slot, member, because), ...unchanged(member)] };
  const coming = { ...likeness(scene, member), origin: 'move', stops: [], keeps: member } as const;
  return { unit: [...succession(scene, slot, coming), ...proofOf(member.task, member.ground)] };
}

function restarted(scene: Scene, slot: Slot, member: Member): Mending {
  const verdict = verdictOn(scene, member);
  if (verdict.kind === 'leave') return {};
  return { unit: restart(scene, slot, member, verdict) };
}
