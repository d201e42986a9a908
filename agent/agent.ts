/**
 * An agent at work: everything wired to everything. In: this host's runtime and network, and who we are. Out: a session,
 * tasks, reports. It holds no logic of its own.
 */
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { Scope } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { NodeId } from '../common/model/ids.ts';
import { rpcChannel } from '../common/rpc.ts';
import type { Identity } from '../common/tls/identity.ts';
import { VERSION } from '../common/version.ts';
import { BlobServers } from './blob-servers.ts';
import { execHandler } from './exec/handler.ts';
import { connects } from './health/port-probe.ts';
import { describeHost } from './host.ts';
import { IdentityKeeper } from './identity.ts';
import type { Images } from './image/image.ts';
import type { BlobServer } from './image/pull.ts';
import { compressLogs } from './logs/compressor.ts';
import { LogPublisher } from './logs/publisher.ts';
import type { Network } from './network/network.ts';
import { Relays } from './relay/relays.ts';
import type { RunnerTools } from './runner-tools.ts';
import type { Runtime } from './runtime/runtime.ts';
import { DISK_FREE_MIN_BYTES, SelfTest } from './self-test.ts';
import { AgentSession } from './session.ts';
import { AgentState } from './state.ts';
import { Worker } from './worker.ts';

/** The kernel's network is compared with what it should be so often. */
const AUDIT_MS = 30_000;
/** Images that no task uses are looked for so often. */
const TRIM_MS = 600_000;

export interface AgentParts {
  readonly stateDir: string;
  /** IPv4 by which the other hosts reach this one; empty = found out. */
  readonly address: string;
  readonly identity: Identity;
  readonly runtime: Runtime;
  readonly network: Network;
  readonly openImages: (servers: () => readonly BlobServer[]) => Promise<Images>;
  readonly filesFor: RunnerTools['filesFor'];
  readonly clock: Clock;
  readonly log: Log;
}

/** An agent that runs. */
export interface RunningAgent {
  readonly worker: Worker;
  /** Aborted when a part of it has failed for good; the reason says which. */
  readonly failed: AbortSignal;
  /** Ends the agent; containers, routes and the load balancer stay. */
  close(): Promise<void>;
}

/** The identity's place in the state directory. */
export function identityPath(stateDir: string): string {
  return join(stateDir, 'identity.json');
}

/** Resolves when what survived has been taken up; the session is then being dialled. */
export async function startAgent(parts: AgentParts): Promise<RunningAgent> {
  const { stateDir, runtime, network, clock, log } = parts;
  const scope = new Scope('covey-agent');
  const dial = rpcChannel;
  const random = Math.random;
  const describe = () => describeHost(parts.address, VERSION);
  const identity: IdentityKeeper = new IdentityKeeper(identityPath(stateDir), parts.identity, {
    clock,
    log,
    dial,
    random,
    anyManager: () => session.anyManager,
  });
  const blobs = new BlobServers({ addresses: () => session.known, identity: () => identity.current, dial });
  scope.own('blob channels', blobs, (each) => each.close());
  const images = await parts.openImages(() => blobs.servers());
  const selfTest = new SelfTest({
    stateDir,
    runtime,
    network,
    clock,
    log,
    diskFreeMinBytes: DISK_FREE_MIN_BYTES,
    onDiskShort: () => collectImages(images, worker, log, scope.signal),
  });
  const worker: Worker = new Worker({
    nodeId: parts.identity.id as NodeId,
    address: describe().address,
    runtime,
    images,
    network,
    state: new AgentState(stateDir, log),
    filesFor: parts.filesFor,
    connects,
    // Whether the network stands is part of the self-test: the manager is to hear of it at once.
    onNetwork: () => scope.run('self-test', (signal) => selfTest.check(signal)),
    clock,
    log,
  });
  const logs = new LogPublisher({ runtime, isOver: (taskId) => worker.isOver(taskId), clock, log });
  const session: AgentSession = new AgentSession({
    worker,
    identity,
    selfTest,
    logs,
    relays: new Relays({ exec: execHandler({ runtime, containerOf: (taskId) => worker.containerOf(taskId) }) }, log),
    describe,
    dial,
    clock,
    log,
    random,
  });
  try {
    await worker.start(scope.signal);
  } catch (cause) {
    await scope.close();
    throw cause;
  }
  scope.own('worker', worker, (each) => each.stop());
  await selfTest.check(scope.signal);
  scope.run('self-test', (signal) => selfTest.run(signal));
  scope.run('session', (signal) => session.run(signal));
  scope.run('certificate', (signal) => identity.run(signal));
  scope.run('logs', (signal) => compressLogs({ runtime, clock, log }, signal));
  scope.run('audit', (signal) => audit(parts, signal));
  scope.run('images', (signal) => trimImages(images, worker, parts, signal));
  return { worker, failed: scope.signal, close: () => scope.close() };
}

function collectImages(images: Images, worker: Worker, log: Log, signal: AbortSignal): void {
  images.collect(worker.imagesInUse, signal).catch((cause: unknown) => {
    log.warn({ cause }, 'unused images could not be removed');
  });
}

async function audit({ network, clock, log }: AgentParts, signal: AbortSignal): Promise<void> {
  for (;;) {
    await clock.sleep(AUDIT_MS, signal);
    try {
      const repaired = await network.audit();
      if (repaired.length > 0) log.warn({ repaired }, 'the network was repaired');
    } catch (cause) {
      log.debug({ cause }, 'the network was not audited');
    }
  }
}

async function trimImages(images: Images, worker: Worker, parts: AgentParts, signal: AbortSignal): Promise<void> {
  for (;;) {
    await parts.clock.sleep(TRIM_MS, signal);
    await images.trim(worker.imagesInUse, signal).catch((cause: unknown) => {
      parts.log.warn({ cause }, 'unused images could not be removed');
    });
  }
}
