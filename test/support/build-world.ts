/** A builder with a real runtime and a real manager's images, on one machine; all of it gone afterwards. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Builder, type BuilderEvent, type BuildWish } from '../../agent/build/builder.ts';
import type { ContextInput } from '../../agent/build/context-input.ts';
import { LayerImages } from '../../agent/image/layer-images.ts';
import { writeTree } from '../../agent/image/layer-writer.ts';
import type { BlobServer } from '../../agent/image/pull.ts';
import type { ImageServer } from '../../agent/image/put.ts';
import { treeEntries } from '../../agent/image/tree.ts';
import { systemClock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { noLog } from '../../common/log.ts';
import type { Digest, ManagerId } from '../../common/model/ids.ts';
import { JSON_BYTES_MAX } from '../../common/oci/manifest.ts';
import { tarOf } from '../../common/oci/tar-writer.ts';
import { blobService } from '../../manager/images/blob-service.ts';
import { imageDoor } from '../../manager/images/image-door.ts';
import { ManagerImages } from '../../manager/images/manager-images.ts';
import { native } from '../../native/index.ts';
import { type ListedFolder, listedFolder } from './listed-folder.ts';
import { MemoryEtcd } from './memory-store.ts';
import { forever, NativeWorld } from './native-world.ts';

/** What is said of a build; the rest is plain. */
export interface Said extends Partial<Omit<BuildWish, 'dockerfile'>> {
  readonly onEvent?: (event: BuilderEvent) => void;
  /** Makes the context in an empty folder; absent: there is no context. */
  readonly context?: string;
  /** Changes the context's folder before it is sent. */
  readonly prepare?: (folder: string) => void;
}

export interface Built {
  readonly digest: Digest;
  readonly events: readonly BuilderEvent[];
  /** Titles of the steps with what became of them, in the order of their ends. */
  readonly steps: readonly string[];
  readonly output: string;
}

const COMMANDS =
  'sh cat id ls sleep pwd env mkdir rm touch chmod chown ln echo grep wget ip stat true false test mv cp date hostname head mount tr'.split(
    ' ',
  );

export class BuildWorld {
  readonly native: NativeWorld;
  readonly manager: ManagerImages;
  readonly images: LayerImages;
  readonly builder: Builder;
  readonly #server: Server;

  private constructor(
    manager: ManagerImages,
    images: LayerImages,
    builder: Builder,
    world: { readonly native: NativeWorld; readonly server: Server },
  ) {
    this.native = world.native;
    this.#server = world.server;
    this.manager = manager;
    this.images = images;
    this.builder = builder;
  }

  /** @param place  another world's folder and cgroup, as a killed agent has left them; absent: new ones */
  static async open(place?: Pick<NativeWorld, 'folder' | 'cgroupParent'>): Promise<BuildWorld> {
    const host = new NativeWorld({}, place);
    // As the agent's worker does with what belongs to nobody.
    for (const { id } of await host.runtime.list(forever)) await host.runtime.remove(id);
    const store = new MemoryEtcd().connect();
    const openRepository = async (name: string): Promise<never> => {
      throw new ClusterError('unavailable', `no registry has ${name}`);
    };
    const manager = await ManagerImages.open({
      dir: join(host.folder, 'manager'),
      store,
      clock: systemClock,
      log: noLog,
      openRepository,
    });
    const server = serverOf(manager, store);
    const images = await LayerImages.open({ dir: join(host.folder, 'images'), servers: () => [server], log: noLog });
    const builder = await Builder.open(partsOf(host, images, server));
    return new BuildWorld(manager, images, builder, { native: host, server });
  }

  /** Another builder's view of the same folders, as after a restart of the agent. */
  reopened(): Promise<Builder> {
    return Builder.open(partsOf(this.native, this.images, this.#server));
  }

  /** An image `NAME` with busybox and the users root, guest (1000) and mail (8). */
  async addBase(name: string): Promise<void> {
    const root = join(this.native.folder, 'base-root');
    rmSync(root, { recursive: true, force: true });
    for (const each of ['bin', 'etc', 'tmp', 'root']) mkdirSync(join(root, each), { recursive: true });
    cpSync('/bin/busybox', join(root, 'bin', 'busybox'));
    for (const each of COMMANDS) symlinkSync('busybox', join(root, 'bin', each));
    writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n');
    writeFileSync(join(root, 'etc', 'group'), 'root:x:0:\nmail:x:8:\nguest:x:1000:\n');
    execFileSync('chmod', ['1777', join(root, 'tmp')]);
    const context = tarOf(treeEntries({ layers: [{ path: root, idBase: 0 }] }, forever));
    const input = { kind: 'tar', chunks: context } as const;
    await this.#built(this.builder, { names: [name] }, 'FROM scratch\nCOPY . /\nCMD ["/bin/sh"]', input);
  }

  async build(dockerfile: string, said: Said = {}, signal = forever, builder = this.builder): Promise<Built> {
    const { prepare, ...rest } = said;
    const input: ContextInput =
      said.context === undefined
        ? { kind: 'none' }
        : { kind: 'tar', chunks: await this.context(said.context, prepare) };
    return await this.#built(builder, rest, dockerfile, input, signal);
  }

  /** A folder with what a script makes in it. */
  folderOf(script: string): string {
    const dir = mkdtempSync(join(this.native.folder, 'context-'));
    chmodSync(dir, 0o755);
    execFileSync('bash', ['-ec', script], { cwd: dir });
    return dir;
  }

  /** A context as the tar of a client. */
  async context(script: string, prepare?: (folder: string) => void): Promise<AsyncIterable<Uint8Array>> {
    const dir = this.folderOf(script);
    prepare?.(dir);
    return tarOf(treeEntries({ layers: [{ path: dir, idBase: 0 }] }, forever));
  }

  /** From a context as the tar of a client. */
  buildFrom(chunks: AsyncIterable<Uint8Array>, dockerfile: string, said: Said): Promise<Built> {
    return this.#built(this.builder, said, dockerfile, { kind: 'tar', chunks });
  }

  /** From a folder, of which the client sends what the node lacks. */
  async buildIn(folder: string, dockerfile: string, said: Said = {}): Promise<Built> {
    return await this.buildListed(await listedFolder(folder), dockerfile, said);
  }

  async buildListed({ input, answer }: ListedFolder, dockerfile: string, said: Said): Promise<Built> {
    const onEvent = (event: BuilderEvent): void => {
      if (event.kind === 'lacks') answer(event.entries);
      said.onEvent?.(event);
    };
    return await this.#built(this.builder, { ...said, onEvent }, dockerfile, input);
  }

  async #built(builder: Builder, said: Said, text: string, input: ContextInput, signal = forever): Promise<Built> {
    const { onEvent, ...wanted } = said;
    const wish: BuildWish = {
      names: ['built:1'],
      args: {},
      labels: {},
      secrets: new Map(),
      usesCache: true,
      pulls: false,
      network: 'none',
      allowsHostNetwork: false,
      ...wanted,
      dockerfile: { name: 'Dockerfile', text },
    };
    const events: BuilderEvent[] = [];
    for await (const event of builder.build(wish, input, signal)) {
      events.push(event);
      onEvent?.(event);
    }
    return summary(events);
  }

  /** The image's files in a folder of their own. */
  async tree(digest: Digest): Promise<string> {
    const { layers } = await this.images.ensure('built', digest, forever);
    const dir = join(this.native.folder, `tree-${digest.slice(7, 19)}-${Math.floor(performance.now() * 1e6)}`);
    mkdirSync(dir);
    const wish = { layers: layers.map((path) => ({ path, idBase: 0 })).toReversed() };
    await writeTree(dir, treeEntries(wish, forever), forever);
    return dir;
  }

  async config(
    digest: Digest,
  ): Promise<Readonly<Record<string, unknown>> & { readonly config: Record<string, unknown> }> {
    const { config } = JSON.parse(await this.manager.blobs.text(digest, JSON_BYTES_MAX)) as {
      readonly config: { readonly digest: Digest };
    };
    return JSON.parse(await this.manager.blobs.text(config.digest, JSON_BYTES_MAX)) as never;
  }

  /** What only a build under way may have: containers, folders, half layers, secrets. */
  async leftovers(): Promise<readonly string[]> {
    const { folder, runtime, cgroupParent } = this.native;
    const containers = (await runtime.list(forever)).map(({ id }) => `container ${id}`);
    const cgroups = (await native().cgroupList(cgroupParent)).map((name) => `cgroup ${name}`);
    const work = readdirSync(join(folder, 'build', 'work'));
    const layers = readdirSync(join(folder, 'images', 'layers')).filter((name) => /^(new|old)-/.test(name));
    const own = createHash('sha256')
      .update(join(folder, 'build', 'work'))
      .digest('hex')
      .slice(0, 12);
    const secrets = readdirSync('/dev/shm').filter((name) => name.startsWith(`covey-secret-${own}`));
    const blobs = readdirSync(this.images.blobs.incoming);
    const packed = readdirSync(join(folder, 'build', 'packed')).filter((name) => !name.endsWith('.json'));
    const listed = [
      ...readdirSync(join(folder, 'build', 'listed', 'contents'), 'utf8'),
      ...readdirSync(join(folder, 'build', 'listed', 'contexts')),
    ];
    const halves = listed.filter((name) => !/^[0-9a-f]{64}(\.json)?$/.test(name));
    return [...halves, ...containers, ...cgroups, ...work, ...layers, ...secrets, ...blobs, ...packed];
  }

  async destroy(): Promise<void> {
    await this.images.close();
    await this.native.destroy();
  }
}

function summary(events: readonly BuilderEvent[]): Built {
  const titles = new Map(events.flatMap((event) => (event.kind === 'begin' ? [[event.number, event.title]] : [])));
  const steps = events.flatMap((event) =>
    event.kind === 'end' ? [`${titles.get(event.number)} ${event.outcome}`] : [],
  );
  const output = events.flatMap((event) => (event.kind === 'output' ? [Buffer.from(event.text)] : []));
  const built = events.find((event) => event.kind === 'built');
  if (built?.kind !== 'built') throw new Error('nothing was built');
  return { digest: built.digest, events, steps, output: Buffer.concat(output).toString('utf8') };
}

type Server = BlobServer & ImageServer;

function serverOf(manager: ManagerImages, store: ReturnType<MemoryEtcd['connect']>): Server {
  const peer = (): never => {
    throw new ClusterError('unavailable', 'there is one manager');
  };
  const blobs = blobService({ blobs: manager.blobs, store, managerId: 'm' as ManagerId, peer });
  const peers = { fetch: () => Promise.reject(new ClusterError('not_found', 'nobody has it')) };
  const handlers = { ...blobs, ...imageDoor({ store, images: manager, peers }) };
  return {
    async *fetchBlob(request, { signal }) {
      const full = { digest: request.digest ?? '', offset: request.offset ?? 0, local: false };
      for await (const each of handlers.fetchBlob(full as never, { peer: undefined, signal })) yield each as never;
    },
    async *putImage(requests, { signal }) {
      for await (const each of handlers.putImage(requests as never, { peer: undefined, signal })) yield each as never;
    },
    resolveImage: async (request, { signal }) =>
      (await handlers.resolveImage(request as never, { peer: undefined, signal })) as never,
  };
}

function partsOf(host: NativeWorld, images: LayerImages, server: Server) {
  return {
    dir: join(host.folder, 'build'),
    images,
    runtime: host.runtime,
    servers: () => [server],
    connect: async () => async () => undefined,
    files: async () => [{ target: '/etc/resolv.conf', content: 'nameserver 192.0.2.1\n' }],
    clock: systemClock,
    log: noLog,
  };
}
