/**
 * The leader's log broker. In: what a user wants to read, and the lines that nodes publish. Out: one stream with the
 * lines of all matching tasks, in the order of time unless they are followed, and at its end what could not be reached. It keeps no line: what nobody reads yet holds up
 * the node that sends it.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { newId } from '../../common/ids.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import { isTerminal, rank } from '../../common/model/task.ts';
import type { covey } from '../../proto/messages.ts';
import { isNodeGone, nodeNameOf, serviceNameOf } from '../control/names.ts';
import type { Store } from '../store/store.ts';
import { Funnel } from './funnel.ts';
import { behind, Marks } from './marks.ts';
import type { Outlet, Writer } from './outlet.ts';
import { type Choice, chosenTasks, joins } from './selection.ts';
import { TimeOrder } from './time-order.ts';

export type LogLine = covey.v1.LogLine.$Properties;

/** Lines between nodes (what is not followed: one of them) and one reader: a few screens, of at most 16 KiB a line. */
const LINES_MAX = 1_024;
/** A node that has not begun to answer after so long is reported as not reached. */
export const ANSWER_MS = 10_000;
/** A node that broke off while its log is followed is asked again so often, until it has a session or is gone. */
export const RESUME_MS = 500;

/** The way to the nodes' sessions. False: the node has none. */
export type Send = (nodeId: NodeId, message: covey.v1.ManagerMessage.$Properties) => boolean;

export interface LogWish {
  /** Services or tasks. */
  readonly refs: readonly string[];
  readonly follow: boolean;
  /** Lines per task; -1 = all. */
  readonly tail: number;
  /** Milliseconds since the epoch; 0 = all. */
  readonly since: number;
}

/** One request to one node. */
interface Errand {
  readonly id: string;
  readonly nodeId: NodeId;
  readonly tasks: ReadonlySet<TaskId>;
  readonly writer: Writer<LogLine>;
  /** False for a line that the reader has had from an earlier errand. */
  readonly isNew: (line: covey.v1.ILogLine) => boolean;
  state: 'asked' | 'answering' | 'done';
}

/** One reader. */
interface Reading {
  readonly wish: LogWish;
  readonly choice: Choice;
  readonly outlet: Outlet<LogLine>;
  readonly errands: Map<string, Errand>;
  /** Tasks asked for, or found impossible to ask for. */
  readonly seen: Set<TaskId>;
  readonly missing: Set<string>;
  readonly marks: Marks;
}

export class LogBroker {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #send: Send;
  readonly #readings = new Set<Reading>();

  constructor(store: Store, clock: Clock, send: Send) {
    this.#store = store;
    this.#clock = clock;
    this.#send = send;
  }

  /**
   * The lines of all tasks that match, from whichever nodes; with `follow` until `signal`, and with tasks that appear
   * later. What is followed comes as it comes, in order for each task; all else in the order of time.
   * @throws ClusterError `not_found`, `invalid` for refs that name nothing or much
   */
  async *read(wish: LogWish, signal: AbortSignal): AsyncIterable<LogLine> {
    const choice = chosenTasks(this.#store.view, wish.refs);
    const stop = new AbortController();
    const ending = AbortSignal.any([signal, stop.signal]);
    const reading: Reading = {
      wish,
      choice,
      outlet: wish.follow ? new Funnel(LINES_MAX, ending) : new TimeOrder(LINES_MAX, ending),
      errands: new Map(),
      seen: new Set(),
      missing: new Set(),
      marks: new Marks(),
    };
    const changes = this.#store.changes(ending);
    this.#readings.add(reading);
    try {
      const { view } = this.#store;
      this.#include(
        reading,
        choice.tasks.flatMap((id) => view.get('task', id)?.value ?? []),
        wish.tail,
      );
      if (wish.follow) this.#follow(reading, changes);
      else this.#finishIfDone(reading);
      yield* reading.outlet.read();
      if (!signal.aborted) yield* lastWords(reading);
    } finally {
      stop.abort();
      this.#readings.delete(reading);
      for (const { id, nodeId, state } of reading.errands.values()) {
        if (state !== 'done') this.#send(nodeId, { logsEnd: { id } });
      }
    }
  }

  /**
   * A node's answer to one request. Lines of tasks that it was not asked for are dropped.
   * @throws ClusterError `not_found` for a request that nobody waits for
   */
  async publish(nodeId: NodeId, messages: AsyncIterable<covey.v1.IPublishedLog>): Promise<void> {
    let found: { readonly reading: Reading; readonly errand: Errand } | undefined;
    let whole = false;
    try {
      for await (const { requestId, lines } of messages) {
        found ??= this.#errand(nodeId, requestId ?? '');
        const { reading, errand } = found;
        errand.state = 'answering';
        const own = (lines ?? []).filter(
          (line) => errand.tasks.has((line.taskId ?? '') as TaskId) && errand.isNew(line),
        );
        for (const { taskId, time } of own) reading.marks.pass((taskId ?? '') as TaskId, time ?? '');
        if (!(await errand.writer.put(own.map((line) => this.#described(line, nodeId))))) return;
      }
      whole = true;
    } finally {
      if (found !== undefined) this.#settle(found.reading, found.errand, whole);
    }
  }

  #errand(nodeId: NodeId, id: string): { readonly reading: Reading; readonly errand: Errand } {
    for (const reading of this.#readings) {
      const errand = reading.errands.get(id);
      if (errand?.nodeId === nodeId && errand.state === 'asked') return { reading, errand };
    }
    throw new ClusterError('not_found', `nobody waits for logs of request "${id}"`);
  }

  #follow(reading: Reading, changes: ReturnType<Store['changes']>): void {
    const pump = async (): Promise<void> => {
      for await (const batch of changes) {
        const { view } = this.#store;
        const tasks =
          batch === 'resync'
            ? [...view.all('task')].map(({ value }) => value)
            : batch.changes.flatMap(({ kind, id }) => (kind === 'task' ? (view.get('task', id)?.value ?? []) : []));
        this.#include(
          reading,
          tasks.filter((task) => joins(reading.choice, task)),
          -1,
        );
      }
    };
    pump().then(
      () => reading.outlet.end(),
      () => reading.outlet.end(),
    );
  }

  /** Asks the tasks' nodes for their lines, each task once. One without a node is asked for when it gets one. */
  #include(reading: Reading, tasks: readonly Task[], tail: number): void {
    const byNode = new Map<NodeId, Task[]>();
    for (const task of tasks) {
      if (task.nodeId === undefined || reading.seen.has(task.id) || !this.#hasLines(reading.wish, task)) continue;
      reading.seen.add(task.id);
      byNode.set(task.nodeId, [...(byNode.get(task.nodeId) ?? []), task]);
    }
    for (const [nodeId, own] of byNode) this.#ask(reading, nodeId, own, tail);
  }

  /** Before a task starts it has no line: it is asked only by one who follows. */
  #hasLines({ follow }: LogWish, task: Task): boolean {
    const state = this.#store.view.get('task-status', task.id)?.value.state;
    return follow || (state !== undefined && rank(state) >= rank('starting') && state !== 'rejected');
  }

  #ask(reading: Reading, nodeId: NodeId, own: readonly Task[], tail: number): void {
    const tasks = own.map(({ id }) => id);
    const { follow, since } = reading.wish;
    const id = newId();
    const isGone = own.some((task) => isNodeGone(this.#store.view, task));
    if (isGone || !this.#send(nodeId, { logs: { id, tasks, follow, tail, since } })) {
      for (const task of own) reading.missing.add(this.#unreached(task));
      return;
    }
    this.#await(reading, { id, nodeId, tasks: new Set(tasks), isNew: () => true });
  }

  #await(reading: Reading, asked: Pick<Errand, 'id' | 'nodeId' | 'tasks' | 'isNew'>): void {
    const errand: Errand = { ...asked, writer: reading.outlet.writer(), state: 'asked' };
    reading.errands.set(errand.id, errand);
    this.#clock.after(ANSWER_MS, () => {
      if (errand.state === 'asked' && this.#readings.has(reading)) this.#settle(reading, errand, false);
    });
  }

  #settle(reading: Reading, errand: Errand, whole: boolean): void {
    errand.state = 'done';
    errand.writer.end();
    reading.errands.delete(errand.id);
    const { view } = this.#store;
    for (const id of errand.tasks) {
      const task = view.get('task', id)?.value;
      if (task === undefined) continue;
      const state = view.get('task-status', id)?.value.state;
      const goesOn = state === undefined || !isTerminal(state);
      // An agent that ends ends its answers too: one that is followed is over when its task is.
      if (reading.wish.follow && (goesOn || !whole)) this.#resumeLater(reading, task);
      else if (!whole) reading.missing.add(this.#unreached(task));
    }
    if (!reading.wish.follow) this.#finishIfDone(reading);
  }

  #resumeLater(reading: Reading, task: Task): void {
    this.#clock.after(RESUME_MS, () => {
      if (this.#readings.has(reading)) this.#resume(reading, task);
    });
  }

  /** Asks again from where the reader stands. */
  #resume(reading: Reading, task: Task): void {
    const { nodeId } = task;
    if (nodeId === undefined || isNodeGone(this.#store.view, task)) {
      reading.missing.add(this.#unreached(task));
      return;
    }
    const { since, tail } = reading.wish;
    const mark = reading.marks.of(task.id);
    const isBehind = behind(mark);
    const isNew = (line: covey.v1.ILogLine): boolean => isBehind(line.time ?? '');
    const errand = { id: newId(), nodeId, tasks: new Set([task.id]), isNew };
    const from = mark === undefined ? { since, tail } : { since: Date.parse(mark.time), tail: -1 };
    const request = { id: errand.id, tasks: [task.id], follow: true, ...from };
    if (this.#send(nodeId, { logs: request })) this.#await(reading, errand);
    else this.#resumeLater(reading, task);
  }

  #finishIfDone(reading: Reading): void {
    if (reading.errands.size === 0) reading.outlet.end();
  }

  #unreached(task: Task): string {
    const { view } = this.#store;
    return `${serviceNameOf(view, task)}.${task.slot}.${task.id} on node ${nodeNameOf(view, task.nodeId)}`;
  }

  #described(line: covey.v1.ILogLine, nodeId: NodeId): LogLine {
    const { view } = this.#store;
    const task = view.get('task', line.taskId ?? '')?.value;
    return {
      taskId: line.taskId ?? '',
      serviceName: task === undefined ? '' : serviceNameOf(view, task),
      slot: task?.slot ?? 0,
      nodeName: nodeNameOf(view, nodeId),
      stream: line.stream ?? 'stdout',
      time: line.time ?? '',
      text: line.text ?? new Uint8Array(),
      partial: line.partial ?? false,
    };
  }
}

function* lastWords(reading: Reading): Iterable<LogLine> {
  if (reading.missing.size === 0) return;
  yield { incomplete: `could not be read: ${[...reading.missing].sort().join(', ')}` };
}
