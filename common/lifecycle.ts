/**
 * A scope owns what was opened in it and the tasks that run in it. Closing it stops the tasks, waits for them and closes the
 * rest in reverse order. A task that fails ends its scope: nothing goes on half alive.
 */
import { ClusterError, messageOf } from './errors.ts';

interface Owned {
  readonly name: string;
  readonly close: () => Promise<void> | void;
}

export class Scope {
  readonly name: string;
  readonly #stop = new AbortController();
  readonly #owned: Owned[] = [];
  readonly #tasks = new Set<Promise<void>>();
  readonly #detach: () => void;
  #failure: unknown;
  #closing: Promise<void> | undefined;

  /** @param parent  aborts this scope too; closing stays the owner's work */
  constructor(name: string, parent?: AbortSignal) {
    this.name = name;
    const onAbort = (): void => this.#stop.abort(parent?.reason);
    if (parent?.aborted) onAbort();
    else parent?.addEventListener('abort', onAbort, { once: true });
    this.#detach = () => parent?.removeEventListener('abort', onAbort);
  }

  /** Aborted when the scope is closed, its parent is aborted or one of its tasks has failed; the reason says which. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Closes `resource` with the scope, after everything that was opened later. Returns it. */
  own<T>(name: string, resource: T, close: (resource: T) => Promise<void> | void): T {
    this.#owned.push({ name, close: () => close(resource) });
    return resource;
  }

  /**
   * Runs `task` in the background until it ends or `signal` is aborted. A task that rejects, unless because of that abort,
   * aborts the whole scope with its failure as the reason.
   */
  run(name: string, task: (signal: AbortSignal) => Promise<void>): void {
    const running = this.#guard(name, task).finally(() => this.#tasks.delete(running));
    this.#tasks.add(running);
  }

  /** Ends everything. Rejects with the first failure of a task or of a close, after all else has been closed too. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #guard(name: string, task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    try {
      await task(this.signal);
    } catch (cause) {
      if (isAbort(cause, this.signal)) return;
      this.#failure ??= new ClusterError('internal', `${this.name}: ${name} failed: ${messageOf(cause)}`, { cause });
      this.#stop.abort(this.#failure);
    }
  }

  async #close(): Promise<void> {
    this.#stop.abort(new ClusterError('unavailable', `${this.name} is closing`));
    this.#detach();
    await Promise.all(this.#tasks);
    for (const owned of this.#owned.reverse()) {
      try {
        await owned.close();
      } catch (cause) {
        this.#failure ??= new ClusterError(
          'internal',
          `${this.name}: cannot close ${owned.name}: ${messageOf(cause)}`,
          {
            cause,
          },
        );
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** True for a rejection that only says that `signal` was aborted: no error to log. */
export function isAbort(cause: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  return cause === signal.reason || (cause instanceof Error && cause.name === 'AbortError');
}
