/** Takes this host out of its cluster: tells a manager, ends every container, and undoes what was done to the host. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, toClusterError } from '../common/errors.ts';
import { noLog } from '../common/log.ts';
import { rpcChannel } from '../common/rpc.ts';
import { expiryOf, type Identity, readIdentity } from '../common/tls/identity.ts';
import { VERSION } from '../common/version.ts';
import { toNodeDescription } from '../common/wire/node.ts';
import type { covey } from '../proto/messages.ts';
import { Dispatcher } from '../proto/methods.ts';
import { identityPath } from './agent.ts';
import { noteOf } from './container-request.ts';
import { hasRecords } from './engine/record.ts';
import { stopSignalOf } from './engine/request.ts';
import { describeHost } from './host.ts';
import type { Network } from './network/network.ts';
import type { Runtime } from './runtime/runtime.ts';
import { AgentState } from './state.ts';
import { hasVolumes } from './volume/volumes.ts';

/** A manager has so long to answer. */
const TELL_MS = 5_000;
/** What still runs is asked to go, and has so long: Docker's default. */
const GRACE_MS = 10_000;

export interface LeaveRequest {
  readonly stateDir: string;
  /** IPv4; empty = found out. */
  readonly address: string;
  /** Leave although no manager can be told. */
  readonly force: boolean;
  /** What is to be undone on the host; asked for once nothing stands against leaving, because opening makes a cgroup. */
  readonly open: () => Promise<{ readonly runtime: Runtime; readonly network: Network }>;
}

/**
 * Resolves to the node's id, undefined when the host had none. No agent may run meanwhile.
 * @throws ClusterError `unavailable` when no manager can be told and `force` is not set: then nothing was changed
 */
export async function leave(request: LeaveRequest, signal: AbortSignal): Promise<string | undefined> {
  const { stateDir, force, open } = request;
  const identity = await readIdentity(identityPath(stateDir));
  if (identity === undefined && !force) {
    throw new ClusterError('not_found', `this host is in no cluster: ${stateDir} holds no identity`, {
      hint: 'add --force to clean up anyway',
    });
  }
  if (!force && (await hasRecords(stateDir))) {
    throw new ClusterError('conflict', 'containers without a service are on this host: leaving removes them', {
      hint: 'see `covey ps -a`; remove them, or add --force',
    });
  }
  if (!force && (await hasVolumes(stateDir))) {
    throw new ClusterError('conflict', 'volumes of containers are on this host: leaving removes them', {
      hint: 'see `covey volume ls`; remove them, or add --force',
    });
  }
  if (identity !== undefined && !force) await tellSomebody(identity, request, signal);
  const { runtime, network } = await open();
  const containers = await runtime.list(signal);
  const running = containers.filter(({ state }) => state === 'running' || state === 'paused');
  const stops = running.map(({ id, labels }) =>
    runtime.stop(id, { stopSignal: noteOf(labels)?.stopSignal ?? stopSignalOf({ labels }), graceMs: GRACE_MS }, signal),
  );
  await Promise.all(stops);
  for (const { id } of containers) await runtime.remove(id);
  await network.clean();
  for (const name of await readdir(stateDir)) await rm(join(stateDir, name), { recursive: true, force: true });
  return identity?.id;
}

/** The leader moves this node's tasks at once. Managers as last heard, then as when it joined. */
async function tellSomebody(identity: Identity, request: LeaveRequest, signal: AbortSignal): Promise<void> {
  let failure: unknown;
  const { cluster } = await new AgentState(request.stateDir, noLog).load();
  for (const address of new Set([...(cluster?.managers ?? []), ...identity.managers])) {
    const channel = rpcChannel(address, identity);
    const stop = AbortSignal.any([signal, AbortSignal.timeout(TELL_MS)]);
    try {
      const session = channel.service(Dispatcher).session(farewell(identity, request.address), { signal: stop });
      for await (const { welcome } of session) if (welcome !== null && welcome !== undefined) return;
    } catch (cause) {
      const { code, field } = toClusterError(cause);
      // Removed already: nobody is left to be told.
      if (code === 'denied' && field === 'node') return;
      failure = cause;
    } finally {
      channel.close();
    }
  }
  signal.throwIfAborted();
  throw new ClusterError('unavailable', 'no manager could be told that this node leaves', {
    hint: 'add --force to leave anyway, then remove the node with `covey node rm`',
    cause: failure,
  });
}

async function* farewell(identity: Identity, address: string): AsyncIterable<covey.v1.AgentMessage.$Properties> {
  yield {
    hello: {
      description: toNodeDescription({ ...describeHost(address, VERSION), meshPort: 0 }),
      unfit: 'the node is leaving the cluster',
      certificateExpiresAt: expiryOf(identity),
      leaving: true,
    },
  };
}
