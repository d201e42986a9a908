/**
 * A manager at work: everything wired to everything. In: an open store, an address. Out: the services on that address,
 * and the cluster's lead whenever it is ours. It holds no logic of its own.
 */
import type { Clock } from '../common/clock.ts';
import { aborted } from '../common/iterate.ts';
import { Scope } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { Digest, ManagerId, NodeId } from '../common/model/ids.ts';
import { rpcServer } from '../common/rpc.ts';
import { VERSION } from '../common/version.ts';
import { Ca, Control, Dispatcher as DispatcherTable, Engine, Images } from '../proto/methods.ts';
import type { Call, Handlers } from '../proto/rpc.ts';
import type { RpcServer } from '../proto/rpc-server.ts';
import { Authority } from './ca/authority.ts';
import { ClaimKeeper } from './control/claim-keeper.ts';
import type { CertificateReport, StoreHealth } from './control/cluster.ts';
import { EventFeed } from './control/event-feed.ts';
import { controlService } from './control/rpc.ts';
import { Dispatcher } from './dispatcher/dispatcher.ts';
import { DispatcherDoor } from './dispatcher/door.ts';
import { removed } from './dispatcher/node-statuses.ts';
import { blobService, fetchNamed } from './images/blob-service.ts';
import { imageDoor } from './images/image-door.ts';
import { Logins } from './images/logins.ts';
import { ManagerImages } from './images/manager-images.ts';
import { PeerBlobs } from './images/peer-blobs.ts';
import { ImagePusher, type ImagePusherOptions } from './images/push.ts';
import { Registries, type RegistrySettings } from './images/registries.ts';
import { lead } from './leader.ts';
import { LogBroker } from './logs/broker.ts';
import { logRoute } from './logs/route.ts';
import { pieceService } from './mesh/piece-service.ts';
import { Swarms } from './mesh/swarms.ts';
import { OwnCertificate } from './own-certificate.ts';
import { ManagerPeers } from './peers.ts';
import { reconcileLoop } from './reconcile-loop.ts';
import { reconcilersOf } from './reconcilers.ts';
import { RelayBroker } from './relay/broker.ts';
import { type EngineSource, engineService, engineSource } from './relay/engine.ts';
import type { Reign, Store } from './store/store.ts';

/** Calls under way get so long at the end. Sessions never end by themselves; agents look for another manager at once. */
const CLOSE_GRACE_MS = 500;

export interface ManagerParts {
  readonly id: ManagerId;
  readonly store: Store;
  readonly health: StoreHealth;
  /** HOST:PORT; port 0 = any, for tests. */
  readonly listen: string;
  /** HOST:PORT for others, given the port that is listened on. */
  readonly advertise: (port: number) => string;
  readonly imagesDir: string;
  readonly registries: RegistrySettings;
  /** What encrypts logins; absent: the CA's key. */
  readonly loginKey?: Uint8Array;
  /** Bytes a second given to nodes in pieces; 0 = as fast as it goes. */
  readonly imageUploadRate: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Test switch: leaving tasks stop without waiting for anybody. */
  readonly skipDrain: boolean;
}

/** A manager that serves. */
export interface RunningManager {
  readonly address: string;
  /** Aborted when a part of it has failed for good; the reason says which. */
  readonly failed: AbortSignal;
  /** Gives the lead back, ends sessions and calls, frees the port. */
  close(): Promise<void>;
}

/** Resolves when it answers. @throws ClusterError `not_found` when there is no cluster in the store yet */
export async function serve(parts: ManagerParts): Promise<RunningManager> {
  const { id, store, clock, log } = parts;
  const certificate = await OwnCertificate.make(id, { view: () => store.view, clock });
  const scope = new Scope('manager');
  const peers = scope.own('peers', new ManagerPeers(() => certificate.material), (each) => each.close());
  const door = new DispatcherDoor(store);
  const addressOf = (nodeId: NodeId) => meshAddress(store, nodeId);
  const swarms = new Swarms({ addressOf, clock, random: Math.random });
  const server = rpcServer(certificate.material.ca, log);
  try {
    const { address, engine } = await open(parts, { certificate, peers, door, swarms, server, scope });
    const manager = { id, address, version: VERSION, startedAt: clock.now() };
    scope.run('announcement', (signal) => store.announce(manager, signal));
    scope.run('certificate', (signal) => certificate.keep((material) => server.renew(material), log, signal));
    const candidate = { managerId: id, address };
    scope.run('lead', (signal) =>
      lead(
        { store, clock, candidate, log, rule: (reign, stop) => rule(parts, { door, swarms, engine }, reign, stop) },
        signal,
      ),
    );
    log.info({ managerId: id, address, version: VERSION }, 'manager serves');
    return { address, failed: scope.signal, close: () => scope.close() };
  } catch (cause) {
    await scope.close();
    throw cause;
  }
}

interface Wiring {
  readonly certificate: OwnCertificate;
  readonly peers: ManagerPeers;
  readonly door: DispatcherDoor;
  readonly swarms: Swarms;
  readonly server: RpcServer;
  readonly scope: Scope;
}

/** Puts the services on the server and listens. */
async function open(
  parts: ManagerParts,
  wiring: Wiring,
): Promise<{ readonly address: string; readonly engine: EngineSource }> {
  const { id, store, clock, health } = parts;
  const { certificate, peers, door, server, scope } = wiring;
  const { images, imageHandlers, ...imageParts } = await openImages(parts, wiring);
  const events = new EventFeed(store, clock);
  scope.run('events', (signal) => events.run(signal));
  let ownAddress = '';
  const ask = (address: string) => (wish: Parameters<ReturnType<typeof logRoute>>[0], signal: AbortSignal) =>
    peers
      .channel(address)
      .service(Control)
      .logs({ ...wish, refs: [...wish.refs] }, { signal });
  const logs = logRoute({
    store,
    door,
    get ownAddress() {
      return ownAddress;
    },
    ask,
  });
  const engine = engineSource({
    store,
    door,
    get ownAddress() {
      return ownAddress;
    },
    ask: (address) => peers.channel(address).service(Engine),
  });
  const certificates = { certificates: () => certificatesOf(id, certificate, door) };
  const verbs = { ...imageParts, images, events, health, certificates, logs, engine };
  server.add(Control, controlService({ store, clock, ...verbs }), ['client', 'manager']);
  server.add(Engine, engineService(engine), ['client', 'manager']);
  server.add(DispatcherTable, door.handlers, ['worker']);
  server.add(Images, onlyOfMembers(store, imageHandlers), ['worker', 'manager']);
  const authority = new Authority(store, clock);
  server.addMethod(Ca, 'issue', authority.issue, 'anyone');
  server.addMethod(Ca, 'renew', authority.renew, ['worker']);
  const port = await server.listen(parts.listen, certificate.material);
  scope.own('server', server, (each) => each.close(CLOSE_GRACE_MS));
  ownAddress = parts.advertise(port);
  return { address: ownAddress, engine };
}

/** Images, and the ways to registries and to the other managers' blobs. */
async function openImages(parts: ManagerParts, { peers, scope, swarms }: Pick<Wiring, 'peers' | 'scope' | 'swarms'>) {
  const { id, store, clock, log, loginKey } = parts;
  const logins = new Logins({ store, clock, ...(loginKey === undefined ? {} : { key: loginKey }) });
  const registries = new Registries({ settings: parts.registries, logins, clock, log });
  const openRepository = (name: string) => registries.repository(name);
  const images = await ManagerImages.open({ dir: parts.imagesDir, openRepository, store, clock, log });
  // What an interrupted load or removal left.
  await images.collect(scope.signal).catch((cause: unknown) => {
    log.warn({ cause }, 'blobs that no image names could not be removed');
  });
  const { blobs, records, pins } = images;
  const peer = (address: string) => peers.channel(address).service(Images);
  const blobParts = { blobs, store, managerId: id, peer };
  const copies = new PeerBlobs(blobParts);
  scope.run('image copies', (signal) => copies.keepCopies(clock, log, signal));
  const fetchBlob = (digest: Digest, signal: AbortSignal) => copies.fetch(digest, signal);
  const openUploads: ImagePusherOptions['openUploads'] = (name, mountFrom) => registries.uploads(name, mountFrom);
  const pusher = new ImagePusher({ records, blobs, pins, bring: fetchBlob, openUploads, clock, log });
  const fetch = (digest: Digest, signal: AbortSignal) => fetchNamed(store, copies, digest, signal);
  const pieces = pieceService({ blobs, swarms, fetch, uploadRate: parts.imageUploadRate, clock, random: Math.random });
  const imageHandlers = {
    ...blobService(blobParts, copies),
    ...imageDoor({ store, images, peers: copies }),
    ...pieces,
  };
  return { images, imageHandlers, fetchBlob, pusher, logins, registries };
}

/** A removed node's certificate is in its time, but no longer of the cluster. */
function onlyOfMembers(store: Store, service: Handlers<typeof Images>): Handlers<typeof Images> {
  const check = ({ peer }: Call): void => {
    const nodeId = peer?.role === 'worker' ? (peer.id as NodeId) : undefined;
    if (nodeId !== undefined && store.view.get('node', nodeId) === undefined) throw removed(nodeId);
  };
  const checked =
    <Request, Answer>(handler: (request: Request, call: Call) => Answer) =>
    (request: Request, call: Call): Answer => {
      check(call);
      return handler(request, call);
    };
  return {
    fetchBlob: checked(service.fetchBlob),
    joinSwarm: checked(service.joinSwarm),
    takePiece: checked(service.takePiece),
    putImage: checked(service.putImage),
    resolveImage: async (request, call) => await checked(service.resolveImage)(request, call),
    usedImages: async (request, call) => await checked(service.usedImages)(request, call),
  };
}

/** Where a node that answers gives pieces. */
function meshAddress(store: Store, nodeId: NodeId): string | undefined {
  const status = store.view.get('node-status', nodeId)?.value;
  if (status?.state !== 'ready' || store.view.get('node', nodeId) === undefined) return undefined;
  const { address, meshPort } = status.description;
  return meshPort === 0 ? undefined : `${address}:${meshPort}`;
}

/** What only the leader does: agents' sessions, and everything that is decided. */
async function rule(
  parts: ManagerParts,
  { door, swarms, engine }: Pick<Wiring, 'door' | 'swarms'> & { readonly engine: EngineSource },
  reign: Reign,
  stop: AbortSignal,
): Promise<void> {
  const { store, clock, log, skipDrain } = parts;
  const claims = new ClaimKeeper({ store, clock, log, engine });
  const dispatcher = new Dispatcher({ store, reign, swarms, claims, clock, log, skipDrain });
  const logs = new LogBroker(store, clock, (nodeId, message) => dispatcher.send(nodeId, message));
  const scope = new Scope('reign', stop);
  const relays = new RelayBroker(clock, (nodeId, message) => dispatcher.send(nodeId, message));
  door.lead({ dispatcher, logs, relays });
  try {
    scope.run('dispatcher', (signal) => dispatcher.run(signal));
    scope.run('claims', (signal) => claims.run(signal));
    scope.run('reconcilers', (signal) =>
      reconcileLoop({ store, reign, reconcilers: reconcilersOf(reign.epoch), clock, log }, signal),
    );
    await aborted(scope.signal);
  } finally {
    door.lead(undefined);
    await scope.close();
  }
}

function certificatesOf(id: ManagerId, own: OwnCertificate, door: DispatcherDoor): readonly CertificateReport[] {
  const nodes = [...(door.leadership?.dispatcher.sessions.values() ?? [])]
    .filter((session) => session.certificateExpiresAt > 0)
    .map((session) => ({ name: session.nodeId, role: 'worker', expiresAt: session.certificateExpiresAt }));
  return [{ name: id, role: 'manager', expiresAt: own.expiresAt }, ...nodes];
}
