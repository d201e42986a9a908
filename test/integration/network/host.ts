// One host of a test: runs a NativeNetwork in the network namespace it was started in, and does what its parent says.

import { NativeNetwork } from '../../../agent/network/native-network.ts';
import type { Network } from '../../../agent/network/network.ts';
import { toClusterError } from '../../../common/errors.ts';
import { native } from '../../../native/index.ts';

/** A call, as sent by segment.ts. */
export interface Call {
  readonly id: number;
  readonly method: keyof Network;
  readonly args: readonly unknown[];
}
export interface Answer {
  readonly id: number;
  readonly result: unknown;
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | undefined } | null;
}

const [, , stateDir] = process.argv;
const network = new NativeNetwork(native(), stateDir ?? '');
const methods = network as unknown as Record<string, (...args: readonly unknown[]) => Promise<unknown>>;

process.on('disconnect', () => process.exit(0));
process.on('message', (call: Call) => {
  const respond = (answer: Answer): void => void process.send?.(answer);
  methods[call.method]?.apply(network, [...call.args]).then(
    (result) => respond({ id: call.id, result: result ?? null, error: null }),
    (cause: unknown) => {
      const { code, message, hint } = toClusterError(cause);
      respond({ id: call.id, result: null, error: { code, message, hint } });
    },
  );
});
process.send?.({ id: 0, result: null, error: null } satisfies Answer);
