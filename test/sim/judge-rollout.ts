/** What must hold of rolling updates (invariants I8, I17, I18, I19 and T1). */
import { isSettled, type Rollout } from '../../common/model/rollout.ts';
import { revisionKey, type Service, type UpdatePolicy } from '../../common/model/service.ts';
import { isWanted, type Task } from '../../common/model/task.ts';
import { differenceOf, isDirty } from '../../manager/orchestrator/dirty.ts';
import { ranFor } from './judge-slot.ts';
import type { World } from './world.ts';

export class RolloutJudge {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  judge(before: Rollout | undefined, after: Rollout | undefined): string | undefined {
    const service = after === undefined ? undefined : this.#world.view.get('service', after.serviceId)?.value;
    // A newer revision replaces the rollout shortly; until then the policy is not the one it was decided by.
    if (after === undefined || service === undefined || service.revision !== after.target) return undefined;
    const isSame = before?.target === after.target && before.startedAt === after.startedAt;
    const known = isSame ? before : undefined;
    return (
      this.#untimelyDone(service, known, after) ??
      this.#threshold(service, after) ??
      this.#untimelyStop(service, known, after) ??
      this.#untruth(service, known, after)
    );
  }

  /** At most `parallelism` slots are on their way, and none is begun once the rollout has stopped. */
  judgeNewTask(task: Task): string | undefined {
    const { view } = this.#world;
    const service = view.get('service', task.serviceId)?.value;
    const rollout = view.get('rollout', task.serviceId)?.value;
    if (task.origin !== 'update' || service === undefined) return undefined;
    if (rollout === undefined || rollout.target !== task.rollout || isSettled(rollout.state)) {
      return `I17: task ${task.id} is made by an update that is ${rollout?.state ?? 'not there'}`;
    }
    const { parallelism } = policyOf(service, rollout);
    if (parallelism === 0) return undefined;
    const onTheWay = new Set<number>();
    for (const { value: other } of view.tasksOf(task.serviceId)) {
      const isOurs = other.rollout === rollout.target && other.createdAt >= rollout.startedAt && isWanted(other);
      const isOver = rollout.done.includes(other.slot) || rollout.failed.some(({ slot }) => slot === other.slot);
      if (isOurs && !isOver) onTheWay.add(other.slot);
    }
    return onTheWay.size > parallelism
      ? `I8: ${onTheWay.size} slots of ${task.serviceId} are on their way, at most ${parallelism} at a time`
      : undefined;
  }

  /** A slot counts as done only when it has held out (T1). */
  #untimelyDone(service: Service, before: Rollout | undefined, after: Rollout): string | undefined {
    const { view, now } = this.#world;
    const { monitorMs } = policyOf(service, before ?? after);
    for (const slot of after.done) {
      if (before?.done.includes(slot)) continue;
      const tasks = [...view.tasksOf(service.id)].map(({ value }) => value).filter((task) => task.slot === slot);
      // Its task may have died between decision and commit: then it had held out at the decision.
      const held = tasks.some(
        (task) =>
          this.#isClean(service, task) && (ranFor(view, task, now) >= monitorMs || this.#hadHeld(task, monitorMs)),
      );
      if (!held && tasks.length > 0)
        return `T1: slot ${slot} of ${service.id} is done before it held out ${monitorMs} ms`;
    }
    return undefined;
  }

  #hadHeld(task: Task, monitorMs: number): boolean {
    const status = this.#world.view.get('task-status', task.id)?.value;
    return status?.runningAt !== undefined && status.appliedAt - status.runningAt >= monitorMs - 10;
  }

  #threshold(service: Service, after: Rollout): string | undefined {
    const policy = policyOf(service, after);
    const slots = new Set(after.failed.map(({ slot }) => slot));
    if (slots.size !== after.failed.length) return `I17: a slot of ${service.id} has failed twice`;
    if (isSettled(after.state) || policy.failureAction === 'continue') return undefined;
    return isTooMany(after, policy)
      ? `I17: ${service.id} goes on with ${after.failed.length} of ${after.total} failed`
      : undefined;
  }

  #untimelyStop(service: Service, before: Rollout | undefined, after: Rollout): string | undefined {
    const hasStopped = after.state === 'paused' || after.state === 'rollback_paused';
    if (before === undefined || before.state === after.state || !hasStopped) return undefined;
    const policy = policyOf(service, before);
    if (isTooMany(after, policy)) return undefined;
    const isLate = this.#world.now - after.progressAt >= policy.progressDeadlineMs;
    return isLate
      ? undefined
      : `I17: ${service.id} is ${after.state} with ${after.failed.length} of ${after.total} failed`;
  }

  /** COMPLETED is true: no slot is left on anything else. */
  #untruth(service: Service, before: Rollout | undefined, after: Rollout): string | undefined {
    const isCompleted = after.state === 'completed' || after.state === 'rollback_completed';
    if (!isCompleted || before?.state === after.state) return undefined;
    for (const { value: task } of this.#world.view.tasksOf(service.id)) {
      if (isWanted(task) && !this.#isClean(service, task)) {
        return `I19: ${service.id} is ${after.state} while slot ${task.slot} is on revision ${task.revision}`;
      }
    }
    return undefined;
  }

  #isClean(service: Service, task: Task): boolean {
    const { view } = this.#world;
    const revision = view.get('revision', revisionKey(service.id, task.revision))?.value;
    return !isDirty(view, service, task, differenceOf(service, revision));
  }
}

function isTooMany(rollout: Rollout, policy: UpdatePolicy): boolean {
  return rollout.failed.length > policy.maxFailureRatio * rollout.total;
}

function policyOf(service: Service, rollout: Rollout): UpdatePolicy {
  return rollout.state.startsWith('rollback') ? service.spec.rollback : service.spec.update;
}
