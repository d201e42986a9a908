// Some of the agents of image-fanout.ts, as far as images go: each with its own store, port, certificate and line, in this one
// process. Started by it; hears what to do and says what was done as messages of its channel.
import { setMaxListeners } from 'node:events';
import { join } from 'node:path';
import { MeshDoor } from '../../agent/mesh/door.ts';
import { Mesh } from '../../agent/mesh/mesh.ts';
import { Nodes } from '../../agent/mesh/nodes.ts';
import { systemClock } from '../../common/clock.ts';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { noLog } from '../../common/log.ts';
import type { Digest } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { rpcChannel } from '../../common/rpc.ts';
import type { KeyedCertificate } from '../../common/tls/certificate.ts';
import { Turns } from '../../common/turns.ts';
import { Images } from '../../proto/methods.ts';
import { meshIdentity } from '../support/mesh-world.ts';

export interface Layer {
  readonly digest: Digest;
  readonly size: number;
}

export type FanoutOrder =
  | {
      readonly kind: 'open';
      readonly ids: readonly string[];
      readonly dir: string;
      readonly ca: KeyedCertificate;
      readonly manager: string;
      readonly bytesPerSecond: number;
    }
  | { readonly kind: 'take'; readonly layers: readonly Layer[] };

export type FanoutWord =
  | { readonly kind: 'opened'; readonly addresses: readonly (readonly [id: string, address: string])[] }
  | { readonly kind: 'holds'; readonly id: string; readonly digest: Digest }
  | { readonly kind: 'done'; readonly id: string; readonly at: number; readonly fault?: string }
  /** After the last of them: what this process has used since `take`. */
  | { readonly kind: 'used'; readonly cpuSeconds: number };

/** As an agent does it. */
const LAYERS_AT_ONCE = 3;
const agents = new Map<string, Agent>();

interface Agent {
  readonly blobs: BlobStore;
  readonly mesh: Mesh;
  readonly address: string;
}

function say(word: FanoutWord): void {
  process.send?.(word);
}

async function open(id: string, { dir, ca, manager, bytesPerSecond }: FanoutOrder & { kind: 'open' }): Promise<Agent> {
  const identity = await meshIdentity(ca, 'worker', id);
  const server = rpcChannel(manager, identity).service(Images);
  const blobs = await BlobStore.open(join(dir, id));
  const mesh = new Mesh(blobs, {
    servers: () => [server],
    nodes: new Nodes({ identity: () => identity, clock: systemClock }),
    others: () => [],
    isMember: () => true,
    uploadRate: bytesPerSecond,
    downloadRate: bytesPerSecond,
    clock: systemClock,
    log: noLog,
    random: Math.random,
  });
  const door = await MeshDoor.open({
    address: '127.0.0.1',
    port: 0,
    identity,
    exchange: mesh.handlers,
    clock: systemClock,
    log: noLog,
  });
  return { blobs, mesh, address: `127.0.0.1:${door.port}` };
}

async function take(id: string, layers: readonly Layer[]): Promise<void> {
  const { blobs, mesh } = agents.get(id) as Agent;
  const turns = new Turns(LAYERS_AT_ONCE);
  const forever = new AbortController().signal;
  setMaxListeners(0, forever);
  const bring = async (layer: Layer): Promise<void> => {
    await mesh.bring(layer, async () => {}, forever);
    say({ kind: 'holds', id, digest: layer.digest });
    if ((await blobs.sizeOf(layer.digest)) !== layer.size) throw new ClusterError('invalid', `${id} lacks a layer`);
  };
  try {
    await Promise.all(layers.map((layer) => turns.run(() => bring(layer), forever)));
    say({ kind: 'done', id, at: Date.now() });
  } catch (cause) {
    say({ kind: 'done', id, at: Date.now(), fault: explain(toClusterError(cause)) });
  }
}

async function obey(order: FanoutOrder): Promise<void> {
  if (order.kind === 'open') {
    for (const id of order.ids) agents.set(id, await open(id, order));
    say({ kind: 'opened', addresses: [...agents].map(([id, { address }]) => [id, address] as const) });
    return;
  }
  const before = process.cpuUsage();
  await Promise.all([...agents.keys()].map((id) => take(id, order.layers)));
  const { user, system } = process.cpuUsage(before);
  say({ kind: 'used', cpuSeconds: (user + system) / 1e6 });
}

process.on('message', (order) => {
  obey(order as FanoutOrder).catch((cause: unknown) => {
    console.error(cause);
    process.exit(1);
  });
});
process.on('disconnect', () => process.exit(0));
