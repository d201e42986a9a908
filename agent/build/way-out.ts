/**
 * A way out for commands of builds: an address of the node's own share of its block, given back with the command's end. Taken from the
 * share's end downwards; containers without a service have theirs from its beginning (agent/engine/addresses.ts).
 */
import { ClusterError } from '../../common/errors.ts';
import { nodeShare } from '../../common/model/address-share.ts';
import type { TaskId } from '../../common/model/ids.ts';
import type { Network } from '../network/network.ts';

export interface WayOutTools {
  readonly network: Pick<Network, 'attach' | 'detach'>;
  /** This node's, `A.B.C.D/N`; empty until it has one. */
  readonly block: () => string;
  /** Addresses that others here have. */
  readonly taken: () => ReadonlySet<string>;
}

export class WayOut {
  readonly #tools: WayOutTools;
  readonly #used = new Set<string>();

  constructor(tools: WayOutTools) {
    this.#tools = tools;
  }

  /** Those that commands have at present. */
  get addresses(): ReadonlySet<string> {
    return this.#used;
  }

  /**
   * Links the container `build-ID`, which was made and not started; gives what ends that, once it is gone.
   * @throws ClusterError `unavailable` when there is no address, and what the network says
   */
  async connect(id: string, pid: number): Promise<() => Promise<void>> {
    const { network, block, taken } = this.#tools;
    const others = taken();
    const address = shareOf(block()).find((each) => !this.#used.has(each) && !others.has(each));
    if (address === undefined) {
      throw new ClusterError('unavailable', 'this node has no address for a command of a build', {
        hint: 'try again when fewer builds run, or build with --network none',
      });
    }
    this.#used.add(address);
    // Links are named by the beginning of an id.
    const taskId = id.slice('build-'.length) as TaskId;
    const disconnect = async (): Promise<void> => {
      await network.detach(taskId);
      this.#used.delete(address);
    };
    try {
      await network.attach({ taskId, address, hostPorts: [] }, pid);
    } catch (cause) {
      await disconnect();
      throw cause;
    }
    return disconnect;
  }
}

/** The node's own addresses, the last first. */
function shareOf(block: string): readonly string[] {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(block);
  if (match === null) return [];
  const [, a, b, c, d, bits] = match.map(Number) as [number, number, number, number, number, number];
  const last = ((a * 256 + b) * 256 + c) * 256 + d + 2 ** (32 - bits) - 2;
  return Array.from({ length: nodeShare(2 ** (32 - bits)) }, (_, at) => textOf(last - at));
}

function textOf(address: number): string {
  return [2 ** 24, 2 ** 16, 2 ** 8, 1].map((unit) => Math.floor(address / unit) % 256).join('.');
}
