/**
 * An agent at work: everything wired to everything. In: this host's runtime and network, and who we are. Out: a session,
 * tasks, reports. It holds no logic of its own.
 */
import { join } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { Scope } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { Digest, NodeId } from '../common/model/ids.ts';
import { rpcChannel } from '../common/rpc.ts';
import type { Identity } from '../common/tls/identity.ts';
import { VERSION } from '../common/version.ts';
import type { Engine } from '../proto/methods.ts';
import type { Handlers } from '../proto/rpc.ts';
import type { Builder } from './build/builder.ts';
import { buildHandler } from './build/handler.ts';
import { WayOut } from './build/way-out.ts';
import { containerVolumes } from './disk/container-volumes.ts';
import { deadContainers } from './disk/dead-containers.ts';
import { diskHandlers } from './disk/handlers.ts';
import { buildCache, idleImages, packedCopies } from './disk/idle-images.ts';
import { DiskKeeper, FREE_MIN_BYTES } from './disk/keeper.ts';
import type { Marks } from './disk/marks.ts';
import { standaloneContainers } from './disk/standalone-containers.ts';
import { usedImages } from './disk/used-images.ts';
import { ContainerEngine, type EngineTools } from './engine/engine.ts';
import { fileHandlers } from './engine/file-handlers.ts';
import { containerHandlers } from './engine/handlers.ts';
import { execHandler } from './exec/handler.ts';
import { connects } from './health/port-probe.ts';
import { describeHost } from './host.ts';
import { IdentityKeeper } from './identity.ts';
import type { Images } from './image/image.ts';
import { placeHandler } from './image/place-handler.ts';
import { compressLogs } from './logs/compressor.ts';
import { LogPublisher } from './logs/publisher.ts';
import type { Network } from './network/network.ts';
import { namesFiles } from './placed-files.ts';
import { Relays } from './relay/relays.ts';
import type { RunnerTools } from './runner-tools.ts';
import type { Runtime } from './runtime/runtime.ts';
import { SelfTest } from './self-test.ts';
import { AgentSession } from './session.ts';
import { type ImageSources, imageSources, type OpenImages, type SharingTools, shareImages } from './shared-images.ts';
import { AgentState } from './state.ts';
import { Worker } from './worker.ts';

/** The kernel's network is compared with what it should be so often. */
const AUDIT_MS = 30_000;
/** Which images are in use is noted so often, for the day when some have to go. */
const NOTE_MS = 600_000;

export interface AgentParts {
  readonly stateDir: string;
  /** IPv4 by which the other hosts reach this one; empty = found out. */
  readonly address: string;
  readonly identity: Identity;
  /** How full the disk of `stateDir` may be. */
  readonly marks: Marks;
  readonly runtime: Runtime;
  readonly network: Network;
  readonly openImages: (sources: ImageSources) => Promise<OpenImages>;
  /** Port on which other nodes take pieces of images; 0 = they do not. */
  readonly meshPort: number;
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
  const ways = { dial: rpcChannel, clock, log, random: Math.random };
  let meshPort = 0;
  const describe = () => ({ ...describeHost(parts.address, VERSION), meshPort });
  const identity: IdentityKeeper = new IdentityKeeper(identityPath(stateDir), parts.identity, {
    ...ways,
    anyManager: () => session.anyManager,
  });
  const sharing = {
    identity,
    managers: () => session.leaderFirst,
    peers: () => worker.peers,
    clock,
    log,
    random: ways.random,
  };
  const shared = await openShared(parts, sharing, () => worker, scope);
  const { images, builder, wayOut, holdings, share } = shared;
  const worker: Worker = new Worker({
    nodeId: parts.identity.id as NodeId,
    address: describe().address,
    runtime,
    images,
    network,
    state: new AgentState(stateDir, log),
    filesFor: parts.filesFor,
    otherAttachments: () => engine.attachments,
    connects,
    // Whether the network stands is part of the self-test: the manager is to hear of it at once.
    onNetwork: () => scope.run('self-test', (signal) => selfTest.check(signal)),
    clock,
    log,
  });
  const engine: ContainerEngine = new ContainerEngine(engineTools(parts, images, { worker: () => worker, wayOut }));
  const used = (): ReadonlySet<Digest> => new Set([...worker.imagesInUse, ...engine.imagesInUse]);
  const disk = diskKeeper(parts, shared, { worker, engine, used });
  const selfTest: SelfTest = new SelfTest({ stateDir, runtime, network, clock, log, disk });
  const logs = new LogPublisher({ runtime, isOver: (taskId) => worker.isOver(taskId), clock, log });
  const session: AgentSession = new AgentSession({
    worker,
    identity,
    selfTest,
    logs,
    relays: new Relays(engineHandlers(parts, { worker, disk, engine, builder, images }), log),
    holdings,
    standalone: engine,
    describe,
    ...ways,
  });
  try {
    // First: the network is taken over with what they hold.
    await engine.start(scope.signal);
    await worker.start(scope.signal);
  } catch (cause) {
    await scope.close();
    throw cause;
  }
  meshPort = await share(describe().address);
  scope.own('worker', worker, (each) => each.stop());
  scope.own('engine', engine, (each) => each.stop());
  await selfTest.check(scope.signal);
  for (const [name, each] of Object.entries({ 'self-test': selfTest, session, certificate: identity })) {
    scope.run(name, (signal) => each.run(signal));
  }
  runUpkeep(parts, { images, used }, scope);
  return { worker, failed: scope.signal, close: () => scope.close() };
}

function runUpkeep(
  parts: AgentParts,
  { images, used }: { readonly images: Images; readonly used: DiskUsers['used'] },
  scope: Scope,
): void {
  scope.run('logs', (signal) => compressLogs(parts, signal));
  scope.run('audit', (signal) => audit(parts, signal));
  scope.run('images', (signal) => noteImages(images, used, parts, signal));
}

/** Images of this host, where they come from, who builds on them, and the way to give them to others. */
async function openShared(parts: AgentParts, tools: SharingTools, worker: () => Worker, scope: Scope) {
  const sources = imageSources(tools, scope);
  const opened = await parts.openImages(sources);
  const share = (address: string) => shareImages(opened, { address, port: parts.meshPort }, tools, scope);
  const { images } = opened;
  const { network } = parts;
  const wayOut = new WayOut({ network, block: () => worker().block, taken: () => worker().addresses });
  const builder = await opened.openBuilder((id, pid) => wayOut.connect(id, pid));
  const { servers } = sources;
  return { images, packed: opened.shared, builder, wayOut, holdings: opened.shared?.holdings, servers, share };
}

/** Its addresses are the part of the node's block that tasks leave. */
function engineTools(
  parts: AgentParts,
  images: Images,
  { worker, wayOut }: { readonly worker: () => Worker; readonly wayOut: WayOut },
): EngineTools {
  const { stateDir, runtime, network, clock, log } = parts;
  const addresses = { block: () => worker().block, taken: () => new Set([...worker().addresses, ...wayOut.addresses]) };
  const portHolders = () => worker().portHolders;
  return { stateDir, runtime, images, network, clock, log, filesFor: namesFiles, portHolders, ...addresses };
}

interface DiskUsers {
  readonly worker: Worker;
  readonly engine: ContainerEngine;
  /** Manifests that must stay. */
  readonly used: () => ReadonlySet<Digest>;
}

function diskKeeper(
  parts: AgentParts,
  { images, packed, builder, servers }: Awaited<ReturnType<typeof openShared>>,
  { worker, engine, used }: DiskUsers,
): DiskKeeper {
  const { stateDir, marks, runtime, log } = parts;
  const usedElsewhere = (digests: readonly Digest[], signal: AbortSignal) => usedImages(servers(), digests, signal);
  const sources = [
    deadContainers({ runtime, worker }),
    standaloneContainers(engine),
    containerVolumes(engine),
    idleImages({ images, inUse: used, usedElsewhere, log }),
    ...(packed === undefined ? [] : [packedCopies(packed)]),
    buildCache(builder.cache, images),
  ];
  return new DiskKeeper({ dir: stateDir, marks, freeMinBytes: FREE_MIN_BYTES, sources, log });
}

interface Served {
  readonly worker: Worker;
  readonly disk: DiskKeeper;
  readonly engine: ContainerEngine;
  readonly builder: Pick<Builder, 'build' | 'commit'>;
  readonly images: Images;
}

/** What this host does for users besides its tasks. */
function engineHandlers(
  { stateDir, runtime, clock, identity, address }: AgentParts,
  { worker, disk, engine, builder, images }: Served,
): Handlers<typeof Engine> {
  return {
    exec: execHandler({
      runtime,
      containerOf: (taskId) => worker.containerOf(taskId),
      standalone: (id) => engine.find(id).record.id,
    }),
    ...diskHandlers({ dir: stateDir, keeper: disk }),
    ...placeHandler(images),
    ...buildHandler(builder),
    ...fileHandlers({ engine, runtime, images, builder, volumePath: (name) => engine.volumePath(name) }),
    ...containerHandlers({
      engine,
      runtime,
      clock,
      node: { id: identity.id, hostname: describeHost(address, VERSION).hostname },
    }),
  };
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

async function noteImages(
  images: Images,
  used: DiskUsers['used'],
  parts: AgentParts,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await parts.clock.sleep(NOTE_MS, signal);
    try {
      await images.touch(used(), parts.clock.now());
      await images.sweep(signal);
    } catch (cause) {
      signal.throwIfAborted();
      parts.log.warn({ cause }, 'images were not looked after');
    }
  }
}
