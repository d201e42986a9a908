/** The agent's images, wired to where they come from and to whom they are given. In: who we are, who the others are. */
import type { Clock } from '../common/clock.ts';
import type { Scope } from '../common/lifecycle.ts';
import type { Log } from '../common/log.ts';
import type { NodeId } from '../common/model/ids.ts';
import { rpcChannel } from '../common/rpc.ts';
import type { Images as ImagesTable, Mesh } from '../proto/methods.ts';
import type { Client, Handlers } from '../proto/rpc.ts';
import { BlobServers } from './blob-servers.ts';
import type { Builder, BuilderParts } from './build/builder.ts';
import type { PackedLayers } from './disk/idle-images.ts';
import type { IdentityKeeper } from './identity.ts';
import type { Images } from './image/image.ts';
import { MeshDoor } from './mesh/door.ts';
import type { Holdings } from './mesh/holdings.ts';
import type { MeshTools } from './mesh/mesh.ts';
import { Nodes } from './mesh/nodes.ts';
import type { Worker } from './worker.ts';

/** Where images come from. */
export interface ImageSources {
  readonly servers: () => readonly Client<typeof ImagesTable>[];
  readonly mesh: Omit<MeshTools, 'uploadRate' | 'downloadRate'>;
}

/** Images with what other nodes get of them; absent when they get nothing. */
export interface OpenImages {
  readonly images: Images;
  /** What builds on them. */
  readonly openBuilder: (connect: BuilderParts['connect']) => Promise<Pick<Builder, 'build' | 'cache' | 'commit'>>;
  readonly shared?: { readonly exchange: Handlers<typeof Mesh>; readonly holdings: Holdings } & PackedLayers;
}

export interface SharingTools {
  readonly identity: IdentityKeeper;
  /** Managers, HOST:PORT, best first. */
  readonly managers: () => readonly string[];
  readonly peers: () => Worker['peers'];
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

/** What images are opened with; the connections end with `scope`. */
export function imageSources(
  { identity, managers, peers, clock, log, random }: SharingTools,
  scope: Scope,
): ImageSources {
  const current = () => identity.current;
  const blobs = new BlobServers({ addresses: managers, identity: current, dial: rpcChannel });
  scope.own('blob channels', blobs, (each) => each.close());
  const nodes = new Nodes({ identity: current, clock });
  scope.own('connections to other nodes', nodes, (each) => each.close());
  const servers = () => blobs.servers();
  return {
    servers,
    mesh: {
      servers,
      nodes,
      others: () => givers(peers()),
      isMember: (nodeId) => peers().has(nodeId as NodeId),
      clock,
      log,
      random,
    },
  };
}

/**
 * Lets other nodes take images from this one, until `scope` ends. Resolves to the port; 0 when they cannot: a port that
 * somebody else has is no reason to let containers be without an agent.
 */
export async function shareImages(
  { shared }: OpenImages,
  { address, port }: { readonly address: string; readonly port: number },
  { identity, clock, log }: SharingTools,
  scope: Scope,
): Promise<number> {
  if (shared === undefined || port === 0) return 0;
  try {
    const { exchange } = shared;
    const door = await MeshDoor.open({ address, port, identity: identity.current, exchange, clock, log });
    scope.own('mesh', door, (each) => each.close());
    identity.onChange(() => door.renew(identity.current));
    return door.port;
  } catch (cause) {
    log.error({ cause }, 'other nodes cannot take images from this one');
    return 0;
  }
}

function givers(peers: Worker['peers']): readonly { readonly id: string; readonly address: string }[] {
  return [...peers.values()]
    .filter(({ meshPort }) => meshPort !== 0)
    .map(({ nodeId, address, meshPort }) => ({ id: nodeId, address: `${address}:${meshPort}` }));
}
