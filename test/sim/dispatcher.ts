/**
 * A pretend dispatcher: the sessions of one leader with its agents. It speaks in whole sets and single reports, and
 * keeps to the contract of the real one: node states on opening and closing, reports only from the session in force,
 * for tasks of that node, and never backwards.
 */
import type { NodeId } from '../../common/model/ids.ts';
import { revisionKey, type ServiceRevision } from '../../common/model/service.ts';
import { isTerminal, rank, type Task, type TaskStatus } from '../../common/model/task.ts';
import { type Batch, check, put, type Unit } from '../../manager/store/store.ts';
import type { Host } from './host.ts';
import type { Manager } from './manager.ts';
import type { World } from './world.ts';

/** One task as an agent gets it. */
export interface Assigned {
  readonly task: Task;
  readonly revision: ServiceRevision;
}

/** What an agent says of a task; the rest of the status is the manager's. */
export type Report = Omit<TaskStatus, 'appliedAt' | 'runningAt'>;

interface Session {
  readonly id: number;
  readonly host: Host;
  isSending: boolean;
}

export class Dispatcher {
  readonly manager: Manager;
  readonly #world: World;
  readonly #sessions = new Map<NodeId, Session>();

  constructor(world: World, manager: Manager) {
    this.#world = world;
    this.manager = manager;
  }

  /** The id of the new session; `removed` for a node that the cluster no longer knows. */
  open(host: Host): number | 'removed' | undefined {
    const world = this.#world;
    if (!this.manager.isAlive || world.etcdSilentMs > 0) return undefined;
    if (world.view.get('node', host.id) === undefined) return 'removed';
    const old = world.view.get('node-status', host.id);
    const status = {
      nodeId: host.id,
      state: 'ready',
      since: world.now,
      message: '',
      epoch: this.manager.reign.epoch,
      description: host.description,
      unfit: host.unfit,
    } as const;
    const stored = this.#write([put('node-status', host.id, status, old?.rev ?? 0)]);
    if (!stored) return undefined;
    const session: Session = { id: world.newNumber(), host, isSending: false };
    this.#sessions.set(host.id, session);
    this.#send(session);
    return session.id;
  }

  /** The self-test's word, from the session in force. */
  unfit(nodeId: NodeId, sessionId: number, unfit: string): void {
    const old = this.#world.view.get('node-status', nodeId);
    if (!this.manager.isAlive || this.#sessions.get(nodeId)?.id !== sessionId || old === undefined) return;
    if (this.#world.etcdSilentMs > 0) {
      this.#world.timeline.after(this.#world.etcdSilentMs + 1, () => this.unfit(nodeId, sessionId, unfit));
      return;
    }
    if (old.value.unfit !== unfit) this.#write([put('node-status', nodeId, { ...old.value, unfit }, old.rev)]);
  }

  /** The stream closed, or its pings went unanswered. */
  closed(nodeId: NodeId, sessionId: number, message: string): void {
    const world = this.#world;
    if (this.#sessions.get(nodeId)?.id !== sessionId) return;
    if (world.etcdSilentMs > 0) {
      world.timeline.after(world.etcdSilentMs + 1, () => this.closed(nodeId, sessionId, message));
      return;
    }
    this.#sessions.delete(nodeId);
    const old = world.view.get('node-status', nodeId);
    if (old === undefined || old.value.state !== 'ready' || world.view.get('node', nodeId) === undefined) return;
    const { now } = world;
    const suspect = { ...old.value, state: 'suspect', since: now, silentSince: now, message } as const;
    this.#write([put('node-status', nodeId, suspect, old.rev)]);
  }

  observe(batch: Batch): void {
    if (!this.manager.isAlive) return;
    for (const change of batch.changes) {
      if (change.kind === 'node' && change.after === undefined) {
        this.#sessions.get(change.before?.id as NodeId)?.host.dismiss();
        this.#sessions.delete(change.before?.id as NodeId);
      }
      if (change.kind !== 'task') continue;
      const nodeId = change.after?.nodeId ?? change.before?.nodeId;
      const session = nodeId === undefined ? undefined : this.#sessions.get(nodeId);
      if (session !== undefined) this.#send(session);
    }
  }

  /** Stores a report; an old session, a foreign task and a step backwards change nothing (invariants I1, I11, I12). */
  report(nodeId: NodeId, sessionId: number, report: Report): void {
    const world = this.#world;
    if (!this.manager.isAlive || this.#sessions.get(nodeId)?.id !== sessionId) return;
    if (world.etcdSilentMs > 0) {
      world.timeline.after(world.etcdSilentMs + 1, () => this.report(nodeId, sessionId, report));
      return;
    }
    const task = world.view.get('task', report.taskId);
    const before = world.view.get('task-status', report.taskId);
    if (task === undefined || task.value.nodeId !== nodeId) return;
    if (before !== undefined && !isNews(before.value, report)) return;
    const runningAt = before?.value.runningAt ?? (report.state === 'running' ? world.now : undefined);
    const status = { ...report, appliedAt: world.now, ...(runningAt === undefined ? {} : { runningAt }) };
    this.#write([put('task-status', report.taskId, status, before?.rev ?? 0), check('task', report.taskId, task.rev)]);
  }

  #send(session: Session): void {
    if (session.isSending) return;
    session.isSending = true;
    this.#world.after(2, 40, () => this.#deliver(session));
  }

  #deliver(session: Session): void {
    const { host, id } = session;
    if (!this.manager.isAlive || this.#sessions.get(host.id) !== session) return;
    if (!host.isReachable) {
      // The stream holds what it could not deliver; if the silence lasts it is closed.
      this.#world.after(100, 300, () => this.#deliver(session));
      return;
    }
    session.isSending = false;
    const { view } = this.#world;
    const set: Assigned[] = [];
    for (const { value: task } of view.tasksOn(host.id)) {
      const revision = view.get('revision', revisionKey(task.serviceId, task.revision))?.value;
      if (revision !== undefined) set.push({ task, revision });
    }
    host.assign(id, this.manager.reign.epoch, set);
  }

  #write(unit: Unit): boolean {
    return this.manager.reign.commitNow([unit])[0]?.kind === 'done';
  }
}

function isNews(before: TaskStatus, report: Report): boolean {
  if (isTerminal(before.state) || rank(report.state) < rank(before.state)) return false;
  return report.state !== before.state || report.healthy !== before.healthy || report.runs.length > before.runs.length;
}
