/** A Network without a kernel: remembers what it was told and lets a test set what it sees. */

import type { Attachment, Network, NetworkState, Peer, PublishedPort } from '../../agent/network/network.ts';
import { ClusterError } from '../../common/errors.ts';
import type { TaskId } from '../../common/model/ids.ts';

export class FakeNetwork implements Network {
  /** Set by the test: open connections by container address; absent = 0. */
  readonly connections = new Map<string, number>();
  /** Set by the test: what `unfit` answers. */
  obstacle = '';
  /** Set by the test: what the next `attach` fails with; used once. */
  attachFailure: ClusterError | undefined;
  /** One line per call, in order, as in `attach task1 10.88.1.2 pid 7`. */
  readonly calls: string[] = [];
  #state: NetworkState | undefined;
  readonly #withdrawn = new Set<TaskId>();
  readonly #attached = new Map<TaskId, Attachment>();

  async start(state: NetworkState): Promise<void> {
    this.calls.push(`start ${state.host.address} ${state.host.block}`);
    this.#state = state;
    this.#attached.clear();
    for (const attachment of state.attached) this.#attached.set(attachment.taskId, attachment);
  }

  async applyPeers(peers: readonly Peer[]): Promise<void> {
    this.calls.push(`peers ${peers.map((peer) => peer.nodeId).join(' ')}`);
    this.#state = { ...this.#stand(), peers };
  }

  async applyPorts(ports: readonly PublishedPort[]): Promise<void> {
    this.calls.push(
      `ports ${ports.map((port) => `${port.protocol}/${port.published}:${port.backends.length}`).join(' ')}`,
    );
    this.#state = { ...this.#stand(), ports };
  }

  async attach(attachment: Attachment, pid: number): Promise<void> {
    this.#stand();
    this.calls.push(`attach ${attachment.taskId} ${attachment.address} pid ${pid}`);
    const failure = this.attachFailure;
    this.attachFailure = undefined;
    if (failure !== undefined) throw failure;
    this.#attached.set(attachment.taskId, attachment);
    this.#withdrawn.delete(attachment.taskId);
  }

  async withdraw(taskId: TaskId): Promise<void> {
    this.#stand();
    this.calls.push(`withdraw ${taskId}`);
    this.#withdrawn.add(taskId);
  }

  async detach(taskId: TaskId): Promise<void> {
    this.#stand();
    this.calls.push(`detach ${taskId}`);
    this.#attached.delete(taskId);
  }

  async openConnections(address: string): Promise<number> {
    return this.connections.get(address) ?? 0;
  }

  async audit(): Promise<readonly string[]> {
    this.#stand();
    this.calls.push('audit');
    return [];
  }

  async unfit(): Promise<string> {
    return this.obstacle;
  }

  async stop(): Promise<void> {
    this.calls.push('stop');
  }

  async clean(): Promise<void> {
    this.calls.push('clean');
    this.#state = undefined;
    this.#attached.clear();
  }

  /** Containers attached now. */
  get attached(): readonly Attachment[] {
    return [...this.#attached.values()];
  }

  /** Backends that new connections of `protocol/published` may reach; undefined = not published. */
  backendsOf(key: string): readonly TaskId[] | undefined {
    const port = this.#state?.ports.find((one) => `${one.protocol}/${one.published}` === key);
    return port?.backends.map((backend) => backend.taskId).filter((id) => !this.#withdrawn.has(id));
  }

  get peers(): readonly Peer[] {
    return this.#stand().peers;
  }

  #stand(): NetworkState {
    if (this.#state !== undefined) return this.#state;
    throw new ClusterError('unavailable', 'the network of this host has not been started');
  }
}
