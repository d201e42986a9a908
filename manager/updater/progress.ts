/**
 * How far a rollout has got: where each slot stands, and which tasks have failed it.
 *
 * Worked out anew from the tasks at every decision; the rollout object only keeps what the tasks' history may forget.
 */
import type { Instant } from '../../common/model/ids.ts';
import type { Rollout } from '../../common/model/rollout.ts';
import type { UpdatePolicy } from '../../common/model/service.ts';
import { isWanted } from '../../common/model/task.ts';
import { isDead, isServing, type Member, type Scene, type Slot } from '../orchestrator/scene.ts';

/**
 * `waiting`: still on an older revision. `flying`: replaced, occupies one of the places until it holds or fails.
 * `open`: on the target and not holding yet, but without a place: it failed before, or came from scaling up.
 * `holds`: running for as long as `monitor` says. `settled`: nothing to do, it was right from the start or is done.
 */
export type Stand =
  | { readonly kind: 'waiting'; readonly slot: Slot }
  | { readonly kind: 'flying' | 'open'; readonly slot: Slot; readonly current: Member; readonly holdsAt?: Instant }
  | { readonly kind: 'holds'; readonly slot: Slot }
  | { readonly kind: 'settled'; readonly slot: Slot };

/** The first failure of a slot. */
export interface Failure {
  readonly slot: number;
  readonly member: Member;
}

/** Where the slot stands in the rollout. */
export function standOf(scene: Scene, rollout: Rollout, policy: UpdatePolicy, slot: Slot): Stand {
  const current = slot.wanted.findLast((member) => !member.isDirty);
  if (current === undefined) return { kind: 'waiting', slot };
  const isAlone = slot.wanted.length === 1;
  const isOld = current.task.createdAt < rollout.startedAt;
  const isDone = rollout.done.includes(slot.number) && slot.wanted.every((member) => !member.isDirty);
  if (isDone || (isAlone && isOld)) return { kind: 'settled', slot };
  const holdsAt = isServing(current) ? (current.status?.runningAt ?? scene.now) + policy.monitorMs : undefined;
  if (isAlone && holdsAt !== undefined && holdsAt <= scene.now) return { kind: 'holds', slot };
  const isOurs = current.task.rollout === rollout.target && !isOld;
  const hasFailed = rollout.failed.some((failure) => failure.slot === slot.number);
  const kind = isOurs && !hasFailed ? 'flying' : 'open';
  return holdsAt === undefined ? { kind, slot, current } : { kind, slot, current, holdsAt };
}

/** Failures that the rollout does not know yet, at most one a slot (docs/adr/0004). */
export function newFailures(scene: Scene, rollout: Rollout, policy: UpdatePolicy): readonly Failure[] {
  const known = new Set([...rollout.done, ...rollout.failed.map((failure) => failure.slot)]);
  const failures: Failure[] = [];
  for (const slot of scene.slots.values()) {
    if (known.has(slot.number)) continue;
    const member = slot.members.find((one) => hasFailed(one, rollout, policy));
    if (member !== undefined) failures.push({ slot: slot.number, member });
  }
  return failures;
}

/** True for a task of this rollout that ended by itself before it had held out. */
function hasFailed(member: Member, rollout: Rollout, policy: UpdatePolicy): boolean {
  const { task, status } = member;
  // A rollback goes to a number that may have been rolled out before: those tasks are older than this rollout.
  if (task.rollout !== rollout.target || task.createdAt < rollout.startedAt || status === undefined) return false;
  if (status.state !== 'failed' && status.state !== 'rejected' && status.state !== 'complete') return false;
  const wasWanted = isWanted(task) || status.appliedAt <= task.desiredAt;
  return wasWanted && (status.runningAt === undefined || status.appliedAt - status.runningAt < policy.monitorMs);
}

/** When waiting for this slot has lasted too long; undefined while it runs, or waits for its turn. */
export function dueAt(rollout: Rollout, policy: UpdatePolicy, stand: Stand): Instant | undefined {
  if (policy.progressDeadlineMs <= 0) return undefined;
  if (stand.kind !== 'flying' && stand.kind !== 'open') return undefined;
  const { task, status, state } = stand.current;
  const base = Math.max(rollout.progressAt, rollout.lastDoneAt === undefined ? 0 : rollout.lastDoneAt + policy.delayMs);
  const deadline = policy.progressDeadlineMs;
  if (state === 'running') {
    // Running and well is monitored; on a silent node it will be moved; unwell counts from when it became so.
    return status === undefined || status.healthy ? undefined : Math.max(base, status.appliedAt) + deadline;
  }
  const isRetry = isDead(stand.current) || task.restarts.streak > 0;
  return (isRetry ? base : Math.max(base, task.createdAt)) + deadline;
}
