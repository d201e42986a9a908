/** What must hold of the tasks of one slot together (invariants I5, I6, I7, I20, I23, I25). */
import { DEFAULT_FAILOVER_AFTER_MS } from '../../common/model/cluster.ts';
import type { Instant, ServiceId } from '../../common/model/ids.ts';
import { revisionKey, type Service, type UpdatePolicy } from '../../common/model/service.ts';
import { movesAt } from '../../common/model/silence.ts';
import { isWanted, rank, type Task } from '../../common/model/task.ts';
import type { Change, ChangeOf, View } from '../../manager/store/store.ts';
import type { World } from './world.ts';

type TaskChange = ChangeOf<'task'>;

export class SlotJudge {
  readonly #world: World;
  /** Restarts of a slot since its revision began, as the commits showed them. */
  readonly #restarts = new Map<string, { readonly revision: number; readonly count: number }>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Judges the slots that a transaction touched, as they are after it. */
  *judge(changes: readonly Change[]): Iterable<string> {
    for (const change of changes) {
      if (change.kind !== 'task' || change.after === undefined) continue;
      const flaw = this.#judgeTask(change, change.after);
      if (flaw !== undefined) yield flaw;
    }
  }

  #judgeTask(change: TaskChange, after: Task): string | undefined {
    const { view } = this.#world;
    const others = slotMates(view, after);
    if (change.before === undefined) {
      const flaw = this.#newcomerFlaw(after, others) ?? this.#restartFlaw(after);
      if (flaw !== undefined) return flaw;
    }
    if (after.desired === 'running' && change.before?.desired !== 'running') return this.#overlap(after, others);
    if (change.before !== undefined && isWanted(change.before) && !isWanted(after))
      return this.#stopFlaw(after, others);
    return undefined;
  }

  /** Two wanted tasks only while one takes over from the other; no slot beyond the replicas. */
  #newcomerFlaw(task: Task, others: readonly Task[]): string | undefined {
    const { view } = this.#world;
    const spec = view.get('service', task.serviceId)?.value.spec;
    if (spec === undefined) return undefined;
    const wanted = others.filter(isWanted);
    if (wanted.length > 1) return `I7: slot ${task.slot} of ${task.serviceId} has three wanted tasks`;
    if (wanted.length === 1 && task.origin === 'update') {
      const isAllowed = spec.update.order === 'start-first' || spec.rollback.order === 'start-first';
      // A held one has not begun: the older one ends before it does.
      if (!isAllowed && task.desired !== 'ready')
        return `I5: slot ${task.slot} of ${task.serviceId} has two wanted tasks though it is stop-first`;
    }
    if (wanted.length === 1 && task.origin === 'create')
      return `I7: slot ${task.slot} of ${task.serviceId} is made twice`;
    if (wanted.length === 1) return undefined;
    const slots = new Set(
      [...view.tasksOf(task.serviceId)].filter(({ value }) => isWanted(value)).map(({ value }) => value.slot),
    );
    const { replicas } = spec.mode;
    const isNewSlot = task.origin === 'create';
    return isNewSlot && slots.size > replicas
      ? `I7: ${task.serviceId} gets slot ${task.slot} beyond its ${replicas} replicas`
      : undefined;
  }

  #restartFlaw(task: Task): string | undefined {
    const key = `${task.serviceId}.${task.slot}`;
    const known = this.#restarts.get(key);
    const isFresh = task.origin === 'create' || task.origin === 'update' || known?.revision !== task.revision;
    const before = isFresh ? 0 : (known?.count ?? 0);
    const count = task.origin === 'restart' ? before + 1 : before;
    this.#restarts.set(key, { revision: task.revision, count });
    const policy = this.#world.view.get('revision', revisionKey(task.serviceId, task.revision))?.value.template.restart;
    if (policy === undefined || policy.maxAttempts === 0 || policy.windowMs > 0 || count <= policy.maxAttempts)
      return undefined;
    return `I20: slot ${task.slot} of ${task.serviceId} is restarted ${count} times, at most ${policy.maxAttempts} are allowed`;
  }

  /** A task is let go while one of the slot that was told to stop still runs on a node that counts. */
  #overlap(task: Task, others: readonly Task[]): string | undefined {
    const service = this.#world.view.get('service', task.serviceId)?.value;
    if (
      service !== undefined &&
      task.rollout !== undefined &&
      policyOf(this.#world.view, service).order === 'stop-first'
    ) {
      const old = others.find((other) => other.desired === 'running' && other.revision !== task.revision);
      if (old !== undefined && this.#world.containers.runs(old.id))
        return `I5: task ${task.id} is released while ${old.id} of its slot has not been told to stop`;
    }
    for (const other of others) {
      if (isWanted(other) || !this.#world.containers.runs(other.id) || this.#isWrittenOff(other)) continue;
      return `I5: task ${task.id} is released while ${other.id} of its slot still runs on ${other.nodeId}`;
    }
    return undefined;
  }

  #stopFlaw(task: Task, others: readonly Task[]): string | undefined {
    const { view } = this.#world;
    const service = view.get('service', task.serviceId)?.value;
    if (service === undefined) return undefined;
    if (task.because?.endsWith('is unreachable') && !this.#isWrittenOff(task)) {
      return `I23: task ${task.id} is moved before ${task.nodeId} has been silent for long enough`;
    }
    if (!serves(view, task) || others.some((other) => isWanted(other) && serves(view, other))) return undefined;
    // Where the successor cannot be had at all, a node is emptied all the same; the reason then says so behind a semicolon.
    const isMove = /is drained$|^moved to another node$/.test(task.because ?? '');
    if (isMove) return `I6: task ${task.id}, the last healthy one of its slot, is stopped to move it (${task.because})`;
    const isUpdate = task.because === 'updated' || task.because === 'rolled back';
    if (!isUpdate) return undefined;
    if (policyOf(view, service).order === 'stop-first') return this.#unpreparedFlaw(task, others);
    return `I6: task ${task.id}, the last healthy one of its slot, is stopped start-first (${task.because})`;
  }

  /** Stop-first: what serves is stopped only for one that could start at once, or that has no place beside it. */
  #unpreparedFlaw(task: Task, others: readonly Task[]): string | undefined {
    const successor = others.find((other) => isWanted(other) && other.replaces === task.id);
    if (successor === undefined || (successor.nodeId === undefined && successor.pending !== undefined))
      return undefined;
    const state = this.#world.view.get('task-status', successor.id)?.value.state ?? 'new';
    if (rank(state) >= rank('ready')) return undefined;
    return `I25: task ${task.id} is stopped while its successor ${successor.id} is ${state}`;
  }

  /** Its node is gone or has been silent for as long as the service waits. */
  #isWrittenOff(task: Task): boolean {
    const { view, now } = this.#world;
    if (task.nodeId === undefined || view.get('node', task.nodeId) === undefined) return true;
    const status = view.get('node-status', task.nodeId)?.value;
    if (status === undefined) return true;
    const at = movesAt(status, failoverAfter(view, task.serviceId), view.get('leader', 'default')?.value);
    return at !== undefined && at <= now;
  }
}

/** By the rollout to the revision in force; before it begins, by what it will be. */
function policyOf(view: View, service: Service): UpdatePolicy {
  const rollout = view.get('rollout', service.id)?.value;
  const isRollback = rollout?.target === service.revision ? rollout.state.startsWith('rollback') : service.rolledBack;
  return isRollback ? service.spec.rollback : service.spec.update;
}

function failoverAfter(view: View, serviceId: ServiceId): number {
  const own = view.get('service', serviceId)?.value.spec.failoverAfterMs;
  return own ?? view.get('cluster', 'default')?.value.failoverAfterMs ?? DEFAULT_FAILOVER_AFTER_MS;
}

function slotMates(view: View, task: Task): readonly Task[] {
  const mates: Task[] = [];
  for (const { value } of view.tasksOf(task.serviceId)) {
    if (value.slot === task.slot && value.id !== task.id) mates.push(value);
  }
  return mates;
}

function serves(view: View, task: Task): boolean {
  const status = view.get('task-status', task.id)?.value;
  if (status?.state !== 'running' || !status.healthy || task.nodeId === undefined) return false;
  const node = view.get('node-status', task.nodeId)?.value;
  return view.get('node', task.nodeId) !== undefined && node?.state === 'ready';
}

/** How long a task has been running, by the store. */
export function ranFor(view: View, task: Task, now: Instant): number {
  const status = view.get('task-status', task.id)?.value;
  return status?.state !== 'running' || status.runningAt === undefined ? -1 : now - status.runningAt;
}
