/** A network that only remembers what it was asked. */
import type { Attachment, Network, NetworkState, Peer, PublishedPort } from '../../agent/network/network.ts';
import type { TaskId } from '../../common/model/ids.ts';

export class PretendNetwork implements Network {
  /** Every call that changes something, in order. */
  readonly calls: string[] = [];
  state: NetworkState | undefined;
  ports: readonly PublishedPort[] = [];
  peers: readonly Peer[] = [];
  /** Open connections by address. */
  readonly connections = new Map<string, number>();
  /** What `unfit` answers. */
  reason = '';

  async start(state: NetworkState): Promise<void> {
    this.calls.push(`start attached=${state.attached.map((each) => each.taskId).join(',')}`);
    this.state = state;
    this.ports = state.ports;
    this.peers = state.peers;
  }

  async applyPeers(peers: readonly Peer[]): Promise<void> {
    this.peers = peers;
  }

  async applyPorts(ports: readonly PublishedPort[]): Promise<void> {
    this.calls.push(
      `ports ${ports.map((port) => `${port.published}=[${port.backends.map((b) => b.taskId).join(' ')}]`)}`,
    );
    this.ports = ports;
  }

  async attach(attachment: Attachment): Promise<void> {
    this.calls.push(`attach ${attachment.taskId}`);
  }

  async withdraw(taskId: TaskId): Promise<void> {
    this.calls.push(`withdraw ${taskId}`);
  }

  async detach(taskId: TaskId): Promise<void> {
    this.calls.push(`detach ${taskId}`);
  }

  async openConnections(address: string): Promise<number> {
    return this.connections.get(address) ?? 0;
  }

  async audit(): Promise<readonly string[]> {
    return [];
  }

  async unfit(): Promise<string> {
    return this.reason;
  }

  async stop(): Promise<void> {}

  async clean(): Promise<void> {}
}
