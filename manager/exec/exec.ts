/** Control's exec: says that a manager listens, and then is the node's own exec. */
import type { covey } from '../../proto/messages.ts';
import type { EngineSource } from '../relay/engine.ts';

/** `ready` first, then as the node says, `exit` last. @throws ClusterError as Engine's exec */
export async function* exec(
  engine: EngineSource,
  inputs: AsyncIterable<covey.v1.ExecInput>,
  signal: AbortSignal,
): AsyncIterable<covey.v1.ExecOutput.$Properties> {
  yield { ready: {} };
  yield* engine('exec', inputs, signal);
}
