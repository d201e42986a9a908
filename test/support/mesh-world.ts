/** Managers that give blobs, and agents' image stores that hand them on: real servers on loopback, real files. */
import { mkdir } from 'node:fs/promises';
import { LayerImages } from '../../agent/image/layer-images.ts';
import { MeshDoor } from '../../agent/mesh/door.ts';
import { Nodes } from '../../agent/mesh/nodes.ts';
import { systemClock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { noLog } from '../../common/log.ts';
import type { Digest } from '../../common/model/ids.ts';
import { BlobStore } from '../../common/oci/blob-store.ts';
import { digestOf } from '../../common/oci/digest.ts';
import { rpcChannel, rpcServer } from '../../common/rpc.ts';
import { createCa, issue, type KeyedCertificate } from '../../common/tls/certificate.ts';
import type { Identity } from '../../common/tls/identity.ts';
import { blobService } from '../../manager/images/blob-service.ts';
import { pieceService } from '../../manager/mesh/piece-service.ts';
import { Swarms } from '../../manager/mesh/swarms.ts';
import type { covey } from '../../proto/messages.ts';
import { Images, type Mesh } from '../../proto/methods.ts';
import type { Handlers } from '../../proto/rpc.ts';
import type { RpcServer } from '../../proto/rpc-server.ts';
import { MemoryEtcd } from './memory-store.ts';

const CLUSTER = 'c1';
const LIFE_MS = 3_600_000;

export function meshCa(): Promise<KeyedCertificate> {
  return createCa(CLUSTER, Date.now());
}

/** Key and certificate of a node or manager. */
export async function meshIdentity(ca: KeyedCertificate, role: 'worker' | 'manager', id: string): Promise<Identity> {
  const own = await issue(ca, { role, id, clusterId: CLUSTER }, { now: Date.now(), lifetimeMs: LIFE_MS });
  return { ca: ca.certificate, ...own, id, clusterId: CLUSTER, managers: [] };
}

/** A manager as far as blobs go. */
export class MeshManager {
  readonly blobs: BlobStore;
  readonly swarms: Swarms;
  /** Bytes of blobs that went out. */
  egress = 0;
  /** Pieces that went out: DIGEST INDEX. */
  readonly pieces: string[] = [];
  port = 0;
  #server: RpcServer;

  private constructor(blobs: BlobStore, swarms: Swarms, server: RpcServer) {
    this.blobs = blobs;
    this.swarms = swarms;
    this.#server = server;
  }

  /** @param addressOf  where a node gives pieces */
  static async open(
    dir: string,
    {
      ca,
      uploadRate,
      addressOf,
      spoil = (each) => each,
    }: {
      readonly ca: KeyedCertificate;
      readonly uploadRate: number;
      readonly addressOf: (nodeId: string) => string | undefined;
      /** Changes what it gives. */
      readonly spoil?: (giving: Giving) => Giving;
    },
  ): Promise<MeshManager> {
    const blobs = await BlobStore.open(dir);
    const swarms = new Swarms({ addressOf, clock: systemClock, random: Math.random });
    const server = rpcServer(ca.certificate, noLog);
    const manager = new MeshManager(blobs, swarms, server);
    const etcd = new MemoryEtcd();
    const whole = blobService({ blobs, store: etcd.connect(), managerId: 'm1' as never, peer: () => alone() });
    const fetch = (digest: Digest): Promise<void> =>
      Promise.reject(new ClusterError('not_found', `no manager has blob ${digest}`));
    const pieces = pieceService({ blobs, swarms, fetch, uploadRate, clock: systemClock, random: Math.random });
    const counting = counted(spoil({ ...whole, ...pieces }), manager);
    server.addMethod(Images, 'fetchBlob', counting.fetchBlob, ['worker']);
    server.addMethod(Images, 'joinSwarm', counting.joinSwarm, ['worker']);
    server.addMethod(Images, 'takePiece', counting.takePiece, ['worker']);
    const identity = await meshIdentity(ca, 'manager', 'm1');
    manager.port = await server.listen('127.0.0.1:0', identity);
    return manager;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async put(bytes: Buffer): Promise<Digest> {
    const digest = digestOf(bytes);
    await this.blobs.fill(
      { digest, size: bytes.length },
      async function* (offset) {
        yield bytes.subarray(offset);
      },
      new AbortController().signal,
    );
    return digest;
  }

  close(): Promise<void> {
    return this.#server.close(0);
  }
}

export interface MeshAgentOptions {
  readonly dir: string;
  readonly id: string;
  readonly ca: KeyedCertificate;
  /** HOST:PORT, best first. */
  readonly managers: () => readonly string[];
  readonly others?: () => readonly { readonly id: string; readonly address: string }[];
  readonly isMember?: (nodeId: string) => boolean;
  readonly uploadRate?: number;
  readonly downloadRate?: number;
  readonly keepBytes?: number;
  /** Changes what it serves to other nodes. */
  readonly spoil?: (exchange: Handlers<typeof Mesh>) => Handlers<typeof Mesh>;
  readonly onHoldings?: (news: covey.v1.BlobNews.$Properties) => void;
}

/** An agent as far as images go. */
export class MeshAgent {
  readonly id: string;
  readonly images: LayerImages;
  readonly address: string;
  readonly #close: () => Promise<void>;

  private constructor(id: string, images: LayerImages, address: string, close: () => Promise<void>) {
    this.id = id;
    this.images = images;
    this.address = address;
    this.#close = close;
  }

  static async open(options: MeshAgentOptions): Promise<MeshAgent> {
    const { dir, id, ca, managers, others = () => [], isMember = () => true, spoil = (each) => each } = options;
    await mkdir(dir, { recursive: true });
    const identity = await meshIdentity(ca, 'worker', id);
    const channels = new Map<string, ReturnType<typeof rpcChannel>>();
    const servers = () =>
      managers().map((address) => {
        const channel = channels.get(address) ?? rpcChannel(address, identity);
        channels.set(address, channel);
        return channel.service(Images);
      });
    const nodes = new Nodes({ identity: () => identity, clock: systemClock });
    const images = await LayerImages.open({
      dir,
      servers,
      mesh: {
        servers,
        nodes,
        others,
        isMember,
        uploadRate: options.uploadRate ?? 0,
        downloadRate: options.downloadRate ?? 0,
        clock: systemClock,
        log: noLog,
        random: Math.random,
      },
      keepBytes: options.keepBytes ?? 2 ** 40,
      log: noLog,
    });
    const { onHoldings = () => {} } = options;
    onHoldings({ complete: true, have: [...images.holdings.all] });
    images.holdings.onChange(({ have, gone }) => onHoldings({ have: [...have], gone: [...gone] }));
    const exchange = spoil(images.exchange as Handlers<typeof Mesh>);
    const door = await MeshDoor.open({
      address: '127.0.0.1',
      port: 0,
      identity,
      exchange,
      clock: systemClock,
      log: noLog,
    });
    return new MeshAgent(id, images, `127.0.0.1:${door.port}`, async () => {
      await door.close();
      nodes.close();
      for (const channel of channels.values()) channel.close();
      await images.close();
    });
  }

  /** Its process ends. */
  close(): Promise<void> {
    return this.#close();
  }
}

export type Giving = Pick<Handlers<typeof Images>, 'fetchBlob' | 'joinSwarm' | 'takePiece'>;

function counted(service: Giving, manager: MeshManager): Giving {
  return {
    ...service,
    async *fetchBlob(request, call) {
      for await (const message of service.fetchBlob(request, call)) {
        manager.egress += message.chunk?.length ?? 0;
        yield message;
      }
    },
    async *takePiece(request, call) {
      for await (const message of service.takePiece(request, call)) {
        manager.egress += message.bytes?.length ?? 0;
        manager.pieces.push(`${request.digest} ${message.index ?? 0}`);
        yield message;
      }
    },
  };
}

function alone(): never {
  throw new ClusterError('not_found', 'there is no other manager');
}
