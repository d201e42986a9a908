/** Answers log requests: reads the containers of the tasks asked for and streams their lines to the manager that asked. */
import type { Clock } from '../../common/clock.ts';
import type { Log } from '../../common/log.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { covey } from '../../proto/messages.ts';
import { Dispatcher } from '../../proto/methods.ts';
import type { RpcChannel } from '../../proto/rpc-channel.ts';
import { noteOf } from '../container-request.ts';
import type { LogEntry } from '../runtime/log-line.ts';
import type { Container, Runtime } from '../runtime/runtime.ts';
import { merge, mergeByTime } from './merge.ts';
import { lastLines, readLog, since } from './reader.ts';

type Published = covey.v1.PublishedLog.$Properties;

/** Requests answered at once; a busy node has some hundred tasks, and each is one request. */
const REQUESTS_MAX = 1_024;
/** A followed task that has no container at the moment is looked at so often. */
const NEXT_RUN_MS = 500;

export interface PublisherTools {
  readonly runtime: Pick<Runtime, 'list'>;
  /** The task's log grows no more. */
  readonly isOver: (taskId: TaskId) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class LogPublisher {
  readonly #tools: PublisherTools;
  readonly #requests = new Map<string, AbortController>();

  constructor(tools: PublisherTools) {
    this.#tools = tools;
  }

  /** Answers in the background, over a call of its own on the session's connection. */
  begin(request: covey.v1.LogRequest.$Properties, channel: RpcChannel): void {
    const id = request.id ?? '';
    const { log } = this.#tools;
    if (this.#requests.size >= REQUESTS_MAX || this.#requests.has(id)) {
      log.warn({ requestId: id, open: this.#requests.size }, 'log request refused');
      return;
    }
    const stop = new AbortController();
    this.#requests.set(id, stop);
    const answer = channel.service(Dispatcher).publishLogs(this.#answer(request, stop.signal), { signal: stop.signal });
    answer
      .catch((cause: unknown) => {
        if (!stop.signal.aborted) log.debug({ requestId: id, cause }, 'log request ended early');
      })
      .finally(() => {
        stop.abort();
        if (this.#requests.get(id) === stop) this.#requests.delete(id);
      });
  }

  /** The manager wants no more of it. */
  end(id: string): void {
    this.#requests.get(id)?.abort();
  }

  /** The session has ended. */
  endAll(): void {
    for (const stop of this.#requests.values()) stop.abort();
  }

  async *#answer(request: covey.v1.LogRequest.$Properties, signal: AbortSignal): AsyncIterable<Published> {
    const requestId = request.id ?? '';
    // Names the request at once, also when there is nothing to say for a while.
    yield { requestId, lines: [] };
    const tasks = (request.tasks ?? []).map((taskId) => this.#linesOf(taskId as TaskId, request, signal));
    const merged = request.follow === true ? merge(tasks) : mergeByTime(tasks);
    for await (const lines of merged) yield { requestId, lines };
  }

  async *#linesOf(
    taskId: TaskId,
    request: covey.v1.LogRequest.$Properties,
    signal: AbortSignal,
  ): AsyncIterable<covey.v1.LogLine.$Properties[]> {
    for await (const entries of this.#entriesOf(taskId, request, signal)) {
      if (entries.length > 0) yield entries.map((entry) => ({ taskId, ...entry }));
    }
  }

  /** All runs of a task, in their order. A tail counts over all of them. */
  async *#entriesOf(
    taskId: TaskId,
    request: covey.v1.LogRequest.$Properties,
    signal: AbortSignal,
  ): AsyncIterable<readonly LogEntry[]> {
    const { clock, isOver } = this.#tools;
    const isFollowing = request.follow ?? false;
    let tail = request.tail ?? -1;
    for (let lastRun = 0; !signal.aborted; ) {
      const wasOver = isOver(taskId);
      const containers = (await this.#containersOf(taskId, signal)).filter((each) => each.run > lastRun);
      if (tail > 0 && containers.length > 1) yield await this.#endsOf(containers, request, signal);
      for (const { container, run } of tail >= 0 ? containers.slice(-1) : containers) {
        const isGrowing = (): boolean => isFollowing && !isOver(taskId) && !this.#hasEnded(container);
        const question = { path: container.logPath, tail, since: request.since ?? 0, isGrowing, clock };
        yield* readLog(question, signal);
        lastRun = run;
        tail = -1;
      }
      if (!isFollowing || wasOver) return;
      await clock.sleep(NEXT_RUN_MS, signal);
    }
  }

  /** What a tail takes of the runs before the newest. */
  async #endsOf(
    runs: readonly { readonly container: Container }[],
    request: covey.v1.LogRequest.$Properties,
    signal: AbortSignal,
  ): Promise<readonly LogEntry[]> {
    const isWanted = since(request.since ?? 0);
    let left = request.tail ?? 0;
    let found: readonly LogEntry[] = [];
    for (const [back, { container }] of runs.toReversed().entries()) {
      if (left <= 0) break;
      const lines = await lastLines(container.logPath, left, signal);
      left -= lines.length;
      // The newest run is read by those who may follow it.
      if (back > 0) found = [...lines, ...found];
    }
    return found.filter(isWanted);
  }

  async #containersOf(
    taskId: TaskId,
    signal: AbortSignal,
  ): Promise<readonly { readonly container: Container; readonly run: number }[]> {
    const containers = await this.#tools.runtime.list(signal);
    return containers
      .flatMap((container) => {
        const note = noteOf(container.labels);
        return note?.taskId === taskId ? [{ container, run: note.run }] : [];
      })
      .toSorted((a, b) => a.run - b.run);
  }

  #hasEnded(container: Container): boolean {
    return container.state === 'exited';
  }
}
