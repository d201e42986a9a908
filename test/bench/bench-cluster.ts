/** A cluster of three hosts to measure, with one connection to its manager that stays open. */
import { createSpec } from '../../cli/flags/service-edits.ts';
import { ClusterError } from '../../common/errors.ts';
import { rpcChannel } from '../../common/rpc.ts';
import { readIdentity } from '../../common/tls/identity.ts';
import { toServiceSpec } from '../../common/wire/service.ts';
import { readLayout } from '../../deploy/dev/door.ts';
import { cgroupDirs } from '../../deploy/dev/processes.ts';
import type { Status } from '../../deploy/dev/status.ts';
import type { covey } from '../../proto/messages.ts';
import { Control } from '../../proto/methods.ts';
import type { Client } from '../../proto/rpc.ts';
import type { RpcChannel } from '../../proto/rpc-channel.ts';
import { DevCluster, type Said } from '../support/dev-cluster.ts';
import { supervisorOf } from '../support/start-demo.ts';
import { until } from '../support/until.ts';

export type Task = covey.v1.TaskView;
export type TaskEvent = covey.v1.Event;

/** Nothing that is measured takes so long unless it hangs. */
export const STEP_MS = 60_000;
export const HOSTS = 3;
export const IMAGE = 'web:1';

export class BenchCluster {
  readonly status: Status;
  readonly control: Client<typeof Control>;
  readonly #cluster: DevCluster;
  readonly #channel: RpcChannel;
  readonly #signal: AbortSignal;

  private constructor(cluster: DevCluster, status: Status, channel: RpcChannel, signal: AbortSignal) {
    this.#cluster = cluster;
    this.status = status;
    this.#channel = channel;
    this.#signal = signal;
    this.control = channel.service(Control);
  }

  /** Brings it up; when that fails or `signal` is aborted, nothing stays. */
  static async up(signal: AbortSignal): Promise<BenchCluster> {
    const cluster = await DevCluster.up('--hosts', String(HOSTS));
    try {
      signal.throwIfAborted();
      const status = await cluster.status();
      const identity = await readIdentity(status.context);
      const [address] = identity?.managers ?? [];
      if (identity === undefined || address === undefined) {
        throw new ClusterError('internal', `the context at ${status.context} names no manager`);
      }
      return new BenchCluster(cluster, status, rpcChannel(address, identity), signal);
    } catch (cause) {
      await cluster.clean();
      throw cause;
    }
  }

  /** Removes every trace. A second try, because a second Ctrl-C ends the command that cleans up. */
  async clean(): Promise<void> {
    this.#channel.close();
    await this.#cluster.clean().catch(() => this.#cluster.clean());
  }

  /** The process above manager, etcd and agents. */
  supervisor(): number {
    return supervisorOf(this.#cluster.dir);
  }

  /** The CLI as a command of its own. */
  covey(...args: readonly string[]): Promise<Said> {
    return this.#cluster.covey(...args);
  }

  /** Options of a call that ends with the bench or when it hangs. */
  call(): { readonly signal: AbortSignal } {
    return { signal: AbortSignal.any([this.#signal, AbortSignal.timeout(STEP_MS)]) };
  }

  /** Creates a service by RPC, with the flags of `service create` by their names there; gives its ports on the hosts. */
  async create(name: string, flags: Readonly<Record<string, unknown>>): Promise<readonly number[]> {
    const spec = createSpec(IMAGE, [], { ...flags, name }, process.env);
    const view = await this.control.createService({ spec: toServiceSpec(spec) }, this.call());
    return (view.service?.spec?.ports ?? []).map((port) => port.published ?? 0);
  }

  /** Tasks that are wanted and run. */
  async running(name: string): Promise<readonly Task[]> {
    const { tasks } = await this.control.listTasks({ services: [name] }, this.call());
    return tasks.filter((one) => one.task?.desired === 'running' && one.state === 'running');
  }

  async untilRunning(name: string, count: number): Promise<readonly Task[]> {
    return this.#until(`${count} tasks of ${name} run`, async () => {
      const tasks = await this.running(name);
      return tasks.length === count && tasks;
    });
  }

  /** Removes services and waits until no host has anything left of their containers. */
  async remove(...names: readonly string[]): Promise<void> {
    for (const ref of names) await this.control.removeService({ ref }, this.call());
    const { cgroup } = readLayout(this.#cluster.dir);
    await this.#until(`${names.join(', ')} are gone`, async () => {
      const { tasks } = await this.control.listTasks({}, this.call());
      if (tasks.length > 0) return false;
      return !cgroupDirs(cgroup).some((dir) => /\/n\d+\/./.test(dir));
    });
  }

  /**
   * Task events from now on, as they come. Ask for it before what makes the events; none is lost although the stream
   * opens later, since the manager tells what happened since `sinceMs` first.
   */
  taskEvents(): AsyncIterable<TaskEvent> {
    return this.control.watch({ types: ['task'], sinceMs: Date.now() }, this.call());
  }

  /** `until` takes any error for "not yet", so an abort must end it as an answer. */
  async #until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
    const answer = await until(what, STEP_MS, async () => {
      if (this.#signal.aborted) return { found: undefined };
      const found = await look();
      return found === false ? undefined : { found };
    });
    if (answer.found !== undefined) return answer.found;
    throw this.#signal.reason;
  }
}
