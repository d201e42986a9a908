/** Finds the context, reaches a manager, and asks the next one when it does not answer. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ClusterError } from '../common/errors.ts';
import { rpcChannel } from '../common/rpc.ts';
import { type Identity, readIdentity } from '../common/tls/identity.ts';
import { Control, Engine } from '../proto/methods.ts';
import type { Client } from '../proto/rpc.ts';

export type ControlClient = Client<typeof Control>;
export type EngineClient = Client<typeof Engine>;

/** How long one manager may take to answer a question that waits for nothing. */
export const CALL_MS = 20_000;

/** Where the context file is: $COVEY_CONTEXT, or ~/.covey/context.json. */
export function contextPath(): string {
  return process.env.COVEY_CONTEXT ?? join(homedir(), '.covey', 'context.json');
}

/** @throws ClusterError `not_found` when there is no context file */
export async function readContext(): Promise<Identity> {
  const path = contextPath();
  const identity = await readIdentity(path);
  if (identity !== undefined) return identity;
  throw new ClusterError('not_found', `no context file at ${path}`, {
    hint: 'run `covey cluster init` on a manager host, or set COVEY_CONTEXT to the file it wrote',
  });
}

/**
 * Runs `work` against the first manager of the context that can be reached. A work that has begun to show something
 * must not be repeated: only errors before any answer lead to the next manager.
 */
export async function withCluster<T>(work: (control: ControlClient, engine: EngineClient) => Promise<T>): Promise<T> {
  const context = await readContext();
  let last: unknown = new ClusterError('invalid', `the context at ${contextPath()} names no manager`);
  for (const address of context.managers) {
    const channel = rpcChannel(address, context);
    try {
      return await work(channel.service(Control), channel.service(Engine));
    } catch (cause) {
      if (!(cause instanceof ClusterError && cause.code === 'unavailable' && cause.hint === undefined)) throw cause;
      last = new ClusterError('unavailable', `no manager answers at ${context.managers.join(', ')}: ${cause.message}`, {
        hint: 'is covey-manager running there? `covey cluster info` tells more',
        cause,
      });
    } finally {
      channel.close();
    }
  }
  throw last;
}

/** Options of a call that answers at once. */
export function brief(): { signal: AbortSignal; deadlineMs: number } {
  return { signal: new AbortController().signal, deadlineMs: CALL_MS };
}

/** Aborted by Ctrl-C. */
export function interruptible(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort(new ClusterError('unavailable', 'interrupted')));
  return controller.signal;
}
