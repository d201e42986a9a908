/**
 * All containers without a service on this host.
 *
 * Comes in: what users want of them, passed on by managers, and what survived on disk and host. Goes out: containers that live by
 * their own policy, with a manager or without. It owns them: no manager starts, moves or restarts one.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Log } from '../../common/log.ts';
import { type ContainerSpec, containerSpecFlaw } from '../../common/model/container.ts';
import type { Digest } from '../../common/model/ids.ts';
import { type Mount, volumeNameFlaw } from '../../common/model/mount.ts';
import type { Images } from '../image/image.ts';
import type { Attachment, Network } from '../network/network.ts';
import { commandOf } from '../runtime/oci-config.ts';
import type { PlacedFile, Runtime } from '../runtime/runtime.ts';
import { type Volume, Volumes } from '../volume/volumes.ts';
import { freeAddress, freePort } from './addresses.ts';
import { namedMounts, prepareMounts } from './mounts.ts';
import { type ContainerRecord, ContainerRecords, newRecord } from './record.ts';
import { isStandalone } from './request.ts';
import { Standalone } from './standalone.ts';
import type { StandaloneTools } from './standalone-tools.ts';

export interface EngineTools {
  readonly stateDir: string;
  readonly runtime: Runtime;
  readonly images: Pick<Images, 'ensure'>;
  readonly network: Pick<Network, 'attach' | 'detach'>;
  readonly filesFor: (hostname: string, address: string) => Promise<readonly PlacedFile[]>;
  /** This node's part of the cluster's addresses, CIDR; empty = it has none yet. */
  readonly block: () => string;
  /** Addresses that tasks of this node hold. */
  readonly taken: () => ReadonlySet<string>;
  /** Ports of this node that services publish, `8080/tcp`, and whose each is. */
  readonly portHolders: () => ReadonlyMap<string, string>;
  readonly clock: Clock;
  readonly log: Log;
}

export class ContainerEngine {
  readonly #tools: EngineTools;
  readonly #records: ContainerRecords;
  readonly #all = new Map<string, Standalone>();
  readonly #volumes: Volumes;
  readonly #listeners = new Set<(id: string) => void>();
  #lastAddress: string | undefined;

  constructor(tools: EngineTools) {
    this.#tools = tools;
    this.#records = new ContainerRecords(tools.stateDir, tools.log);
    this.#volumes = new Volumes(tools.stateDir);
  }

  /** Takes up what the last agent left. */
  async start(signal: AbortSignal): Promise<void> {
    const { runtime, log } = this.#tools;
    const found = (await runtime.list(signal)).filter(isStandalone);
    const records = await this.#records.load();
    await this.#volumes.sweep();
    for (const record of records) {
      const own = found.find(({ id }) => id === record.id);
      this.#all.set(record.id, new Standalone(this.#partTools(), record, own));
    }
    for (const { id } of found) {
      if (this.#all.has(id)) continue;
      log.info({ containerId: id }, 'removing a container of which there is no record');
      await runtime.remove(id);
    }
    for (const each of this.#all.values()) {
      await each.adopt().catch((cause: unknown) => {
        log.error({ containerId: each.record.id, cause }, 'a container could not be taken up');
      });
    }
    if (records.length > 0) log.info({ containers: records.length }, 'took up containers without a service');
  }

  /** Lets go of everything and leaves it running. */
  stop(): void {
    for (const each of this.#all.values()) each.release();
  }

  get ids(): readonly string[] {
    return [...this.#all.keys()];
  }

  /** Told of each that went with its end until the returned function is called. */
  onGone(listener: (id: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** In no order. */
  get all(): readonly Standalone[] {
    return [...this.#all.values()];
  }

  /** Manifests that must stay on this host. */
  get imagesInUse(): readonly Digest[] {
    return this.all.map(({ record }) => record.spec.template.container.imageDigest as Digest);
  }

  /** What the network must know of when it is taken over. */
  get attachments(): readonly Attachment[] {
    return this.all.flatMap(({ attachment }) => (attachment === undefined ? [] : [attachment]));
  }

  /** @throws ClusterError `not_found` */
  find(id: string): Standalone {
    const found = this.#all.get(id);
    if (found === undefined) throw new ClusterError('not_found', `no such container on this node: ${id}`);
    return found;
  }

  /** Makes a record, and brings the image here; it is not started. @throws ClusterError; then nothing is left */
  async create(id: string, spec: ContainerSpec, signal: AbortSignal): Promise<Standalone> {
    const flaw = containerSpecFlaw(spec);
    if (flaw !== undefined) throw new ClusterError('invalid', flaw.message, { field: flaw.field, hint: flaw.hint });
    const { image, imageDigest } = spec.template.container;
    if (imageDigest === undefined) throw new ClusterError('invalid', `image "${image}" was not resolved to a digest`);
    if (this.#all.has(id)) throw new ClusterError('exists', `container ${id} exists already`);
    const fresh = newRecord(id, { ...spec, ports: this.#withPorts(spec) }, this.#tools.clock.now());
    // Known from now on: whoever asks meanwhile hears that it is here.
    this.#all.set(id, new Standalone(this.#partTools(), fresh));
    try {
      const unpacked = await this.#tools.images.ensure(image, imageDigest, signal);
      const { config } = unpacked;
      const mounts = namedMounts(spec, config.volumes ?? []);
      const named = { ...fresh.spec, mounts };
      const record = { ...fresh, spec: named, command: commandOf(config, spec.template.container) };
      // Known before they are made: nobody removes them meanwhile.
      this.#all.set(id, new Standalone(this.#partTools(), record));
      await prepareMounts(named, unpacked, { volumes: this.#volumes, now: fresh.createdAt }, signal);
      await this.#records.keep(record);
      const made = new Standalone(this.#partTools(), record);
      this.#all.set(id, made);
      return made;
    } catch (cause) {
      const mounts = this.#all.get(id)?.record.spec.mounts ?? [];
      this.#all.delete(id);
      await this.#forget(mounts);
      throw cause;
    }
  }

  /** The volumes of this host, by name, and the names of the containers that have each. */
  async volumes(): Promise<readonly (Volume & { readonly containers: readonly string[] })[]> {
    const found = await this.#volumes.list();
    return found.map((volume) => ({ ...volume, containers: this.#usersOf(volume.name) }));
  }

  /** Where a volume of that name lies, or would. */
  volumePath(name: string): string {
    return this.#volumes.pathOf(name);
  }

  /** @throws ClusterError `not_found`, `conflict` when a container has it */
  async removeVolume(name: string, signal: AbortSignal): Promise<void> {
    const flaw = volumeNameFlaw(name);
    if (flaw !== undefined) throw new ClusterError('invalid', flaw.message, { hint: flaw.hint });
    const users = this.#usersOf(name);
    if (users.length > 0) {
      throw new ClusterError('conflict', `volume ${name} is in use by ${users.join(', ')}`, {
        hint: 'remove the containers first',
      });
    }
    if (!(await this.#volumes.remove(name, signal))) throw new ClusterError('not_found', `no such volume: ${name}`);
  }

  async #forget(mounts: readonly Mount[]): Promise<void> {
    for (const mount of mounts) {
      if (mount.kind !== 'volume' || !mount.anonymous || this.#usersOf(mount.source).length > 0) continue;
      await this.#volumes.remove(mount.source, new AbortController().signal);
    }
  }

  #usersOf(volume: string): readonly string[] {
    const has = ({ record }: Standalone): boolean =>
      record.spec.mounts.some((mount) => mount.kind === 'volume' && mount.source === volume);
    return this.all.filter(has).map(({ record }) => record.spec.name);
  }

  #partTools(): StandaloneTools {
    const { runtime, images, network, filesFor, clock, log } = this.#tools;
    return {
      runtime,
      images,
      network,
      filesFor,
      clock,
      log,
      volumes: this.#volumes,
      forget: (mounts) => this.#forget(mounts),
      address: (id) => this.#address(id),
      checkPorts: (id) => this.#checkPorts(id),
      keep: (record: ContainerRecord) => this.#records.keep(record),
      gone: async (id) => {
        const wentByItself = this.#all.get(id)?.record.spec.autoRemove ?? false;
        this.#all.delete(id);
        await this.#records.drop(id);
        if (wentByItself) for (const listener of this.#listeners) listener(id);
      },
    };
  }

  #address(id: string): string {
    const block = this.#tools.block();
    if (block === '') {
      throw new ClusterError('unavailable', 'this node has no addresses for containers yet', {
        hint: 'it gets them with its first session; or give --network none',
      });
    }
    const others = this.all.filter(({ record }) => record.id !== id);
    const used = new Set([...this.#tools.taken(), ...others.flatMap(({ attachment }) => attachment?.address ?? [])]);
    const address = freeAddress(block, used, this.#lastAddress);
    if (address === undefined) {
      throw new ClusterError('exhausted', `no address of ${block} is free for a container without a service`, {
        hint: 'stop containers, or give --network none',
      });
    }
    this.#lastAddress = address;
    return address;
  }

  #checkPorts(id: string): void {
    const holders = new Map(this.#tools.portHolders());
    for (const { record, isRunning } of this.all) {
      if (record.id === id || !isRunning) continue;
      for (const port of record.spec.ports) holders.set(keyOf(port), `container ${record.spec.name}`);
    }
    for (const port of this.find(id).record.spec.ports) {
      const holder = holders.get(keyOf(port));
      if (holder === undefined) continue;
      throw new ClusterError('conflict', `port ${keyOf(port)} is already allocated by ${holder}`, {
        hint: 'stop it, or publish another port',
      });
    }
  }

  /** A 0 becomes a port of this node that nobody has. */
  #withPorts({ ports }: ContainerSpec): ContainerSpec['ports'] {
    const used = new Set([
      ...this.all.flatMap(({ record }) => record.spec.ports).map(keyOf),
      ...this.#tools.portHolders().keys(),
    ]);
    return ports.map((port) => {
      const published = port.published === 0 ? freePort(port.protocol, used) : port.published;
      if (published === undefined) throw new ClusterError('exhausted', 'no port of this node is free');
      used.add(keyOf({ ...port, published }));
      return { ...port, published, mode: 'host' as const };
    });
  }
}

function keyOf({ published, protocol }: { readonly published: number; readonly protocol: string }): string {
  return `${published}/${protocol}`;
}
