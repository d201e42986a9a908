/**
 * Builds images on this host. Comes in: a Dockerfile, a context, what the user wants. Goes out: what happens meanwhile, and an image in
 * the cluster. A build that is given up takes with it all it has begun; what it finished stays in the cache.
 *
 *   DIR/cache      what steps came to (step-cache.ts); their layers lie with those of images
 *   DIR/packed     what own layers came to as blobs (image.ts)
 *   DIR/listed     what the files of contexts hold (listed/store.ts)
 *   DIR/caches     what `RUN --mount=type=cache` keeps (cache-mounts.ts)
 *   DIR/work       contexts and whatever a step is shown; nothing in it outlives its build
 *   DIR/empty      the folder under a stage without layers
 */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { Queue } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { diskError } from '../../common/oci/disk.ts';
import { PLATFORM } from '../../common/oci/platform.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { Turns } from '../../common/turns.ts';
import { native } from '../../native/index.ts';
import type { DiskSource } from '../disk/keeper.ts';
import type { LayerImages } from '../image/layer-images.ts';
import { makeLayer, UNPACKED_BLOB } from '../image/layer-writer.ts';
import { type ImageServer, putImage } from '../image/put.ts';
import type { PlacedFile, Runtime } from '../runtime/runtime.ts';
import { BaseImages } from './base-images.ts';
import { Build, type BuildEvent, type BuiltStage } from './build.ts';
import { CacheMounts } from './cache-mounts.ts';
import { dockerfileIn } from './context.ts';
import { buildContext, type ContextInput } from './context-input.ts';
import { parseDockerfile } from './dockerfile/parse.ts';
import { planBuild } from './dockerfile/plan.ts';
import { clampedTo } from './dockerfile/state.ts';
import { fetcher } from './fetch.ts';
import { heldSteps, together } from './held.ts';
import { Holds } from './holds.ts';
import { madeImage } from './image.ts';
import { readBase } from './image-file.ts';
import { ContextStore } from './listed/store.ts';
import { RunMounts } from './mounts.ts';
import type { RunRequest, RunTools } from './run-step.ts';
import type { SourceTree } from './source-tree.ts';
import { StageLayers } from './stage-layers.ts';
import { StepCache } from './step-cache.ts';
import type { Fetch } from './transfer-sources.ts';

export interface BuilderParts {
  /** Made if missing, mode 0700; on the file system of the images. */
  readonly dir: string;
  readonly images: LayerImages;
  readonly runtime: Pick<Runtime, 'create' | 'start' | 'wait' | 'writable' | 'remove'>;
  readonly servers: () => readonly ImageServer[];
  readonly connect: RunTools['connect'];
  /** What every container of this host is given. */
  readonly files: () => Promise<readonly PlacedFile[]>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a user wants built. */
export interface BuildWish {
  /** NAME[:TAG], at least one. */
  readonly names: readonly string[];
  /** As errors call it, and its path in the context when `text` is absent. */
  readonly dockerfile: { readonly name: string; readonly text?: string };
  /** Absent: the last stage. */
  readonly target?: string;
  readonly args: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly secrets: ReadonlyMap<string, Uint8Array>;
  readonly usesCache: boolean;
  readonly pulls: boolean;
  readonly network: RunRequest['network'];
  /** RUNs may share the host's network, and with it the host's user ids. */
  readonly allowsHostNetwork: boolean;
}

/** One more layer on an image that the cluster has. */
export interface CommitWish {
  /** NAME[:TAG]@DIGEST */
  readonly base: string;
  /** NAME[:TAG] */
  readonly name: string;
  /** Of the layer; read once. */
  readonly entries: AsyncIterable<TreeEntry>;
  /** JSON: the image config's `config`. */
  readonly config: string;
  readonly author: string;
  readonly message: string;
  /** What its history says of the step. */
  readonly createdBy: string;
}

export type BuilderEvent =
  | BuildEvent
  /** Files of a listed context whose contents are to come, by their place in it; once. */
  | { readonly kind: 'lacks'; readonly entries: readonly number[] }
  | { readonly kind: 'built'; readonly digest: Digest };

/** More waits only for a reader that does not read; of output, the newest is then dropped. */
const EVENTS_MAX = 100_000;

export class Builder {
  readonly #parts: BuilderParts;
  readonly #cache: StepCache;
  readonly #contexts: ContextStore;
  readonly #mounts: CacheMounts;
  readonly #holds: Holds;
  readonly #stageLayers: StageLayers;
  readonly #fetch: Fetch;

  private constructor(
    parts: BuilderParts,
    {
      cache,
      contexts,
      mounts,
    }: { readonly cache: StepCache; readonly contexts: ContextStore; readonly mounts: CacheMounts },
  ) {
    this.#parts = parts;
    this.#cache = cache;
    this.#contexts = contexts;
    this.#mounts = mounts;
    this.#holds = new Holds();
    const { dir, runtime, clock, connect, files } = parts;
    this.#fetch = fetcher(join(dir, 'work'));
    this.#stageLayers = new StageLayers({
      runtime,
      clock,
      connect,
      files,
      folders: parts.images.folders,
      cache,
      mounts: new RunMounts(mounts, join(dir, 'work')),
      fetch: this.#fetch,
      turns: new Turns(Math.max(2, availableParallelism())),
      emptyLayer: join(dir, 'empty'),
      resolveOwner: async (layers, owner) => await native().resolveUser(layers, owner),
    });
    parts.images.protect((part) => this.#holds.has(part) || cache.holds(part));
  }

  /** Takes away what a killed agent has left. */
  static async open(parts: BuilderParts): Promise<Builder> {
    const { dir, clock } = parts;
    await native().removeTree(join(dir, 'work'));
    for (const name of ['work', 'packed', 'empty']) await mkdir(join(dir, name), { recursive: true, mode: 0o700 });
    await mkdir(join(dir, 'empty'), { recursive: true });
    await RunMounts.sweep(join(dir, 'work'));
    await removeNamed(join(dir, 'packed'), (name) => !/^[0-9a-f]{64}\.json$/.test(name));
    const { incoming } = parts.images.blobs;
    await removeNamed(incoming, (name) => name.startsWith(UNPACKED_BLOB));
    return new Builder(parts, {
      cache: await StepCache.open(join(dir, 'cache'), clock),
      contexts: await ContextStore.open(join(dir, 'listed'), clock),
      mounts: await CacheMounts.open(join(dir, 'caches'), clock),
    });
  }

  /**
   * Builds, then puts the image into the cluster; `built` comes last.
   *
   * @throws ClusterError as the step that fails says: `invalid` for what the Dockerfile says or a command that fails,
   *   `exhausted` for a full disk
   */
  async *build(wish: BuildWish, context: ContextInput, signal: AbortSignal): AsyncGenerator<BuilderEvent> {
    const over = new AbortController();
    const stop = AbortSignal.any([signal, over.signal]);
    const events = new Queue<BuilderEvent>(EVENTS_MAX, stop);
    const work = this.#build(wish, context, (event) => void events.push(event), stop);
    work.then(
      () => events.end(),
      (cause: unknown) => events.fail(diskError(`build of image "${wish.names[0]}"`, cause)),
    );
    try {
      yield* events;
      signal.throwIfAborted();
    } finally {
      over.abort();
      // Nothing of it is left when the call ends.
      await work.catch(() => undefined);
    }
  }

  /** Makes the layer and puts the image into the cluster; its digest. @throws ClusterError as `build` */
  async commit(wish: CommitWish, signal: AbortSignal): Promise<Digest> {
    const { dir, images, servers, clock } = this.#parts;
    const { base, name, entries, author, message: comment, createdBy } = wish;
    const { folders, blobs } = images;
    const { hold, release } = this.#holds.hand();
    try {
      const { config } = readBase(`{"config":${wish.config}}`, `config of image "${name}"`);
      const below = await new BaseImages({ images, blobs, folders, servers }, false).bring(base, hold, signal);
      const diffId = await makeLayer(folders, entries, hold, signal);
      const at = clock.now();
      const history = [...below.image.history, { at, createdBy, comment, author, emptyLayer: false }];
      const making = { image: { config, history, author }, layers: [...below.layers, { diffId }], at, names: [name] };
      const place = { dir: join(dir, 'packed'), blobs, folders, hold };
      return await putImage(servers(), await madeImage(place, making, signal), signal);
    } finally {
      release();
    }
  }

  /** What the cache holds, for those who make room. */
  get cache(): DiskSource {
    const { images } = this.#parts;
    const imageLayers = async (): Promise<ReadonlySet<string>> =>
      new Set((await images.list()).flatMap(({ layers }) => layers));
    const steps = heldSteps({ cache: this.#cache, holds: this.#holds, folders: images.folders, imageLayers });
    return together({ step: steps, context: this.#contexts.held, mount: this.#mounts.held });
  }

  async #build(
    wish: BuildWish,
    input: ContextInput,
    tell: (event: BuilderEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { dir, log, clock } = this.#parts;
    const startedAt = clock.now();
    const { hold, release } = this.#holds.hand();
    const work = await mkdtemp(join(dir, 'work', 'build-'));
    let leave = async (): Promise<void> => undefined;
    try {
      const tools = { store: this.#contexts, fetch: this.#fetch };
      const lacks = (entries: readonly number[]): void => tell({ kind: 'lacks', entries });
      const { names, dockerfile } = wish;
      const context = await buildContext(tools, input, { work, name: names[0] ?? '', dockerfile, lacks }, signal);
      leave = context.release;
      const epochMs = epochOf(wish.args.SOURCE_DATE_EPOCH);
      const built = await this.#run(wish, { context: context.tree, epochMs, hold, tell }, signal);
      const digest = await this.#put(wish, built, { epochMs, hold }, signal);
      tell({ kind: 'built', digest });
      log.info({ images: wish.names, digest, ms: clock.now() - startedAt }, 'image built');
    } finally {
      release();
      await leave();
      await native().removeTree(work);
    }
  }

  async #run(
    wish: BuildWish,
    frame: {
      readonly context: SourceTree | undefined;
      readonly epochMs: Instant | undefined;
      readonly hold: (part: Digest) => void;
      readonly tell: (event: BuildEvent) => void;
    },
    signal: AbortSignal,
  ): Promise<BuiltStage> {
    const { images, servers, clock } = this.#parts;
    const { name } = wish.dockerfile;
    const text = wish.dockerfile.text ?? (await dockerfileIn(frame.context, name, signal));
    const plan = planBuild(parseDockerfile(text, name), {
      args: wish.args,
      platform: `${PLATFORM.os}/${PLATFORM.arch}`,
      ...(wish.target === undefined ? {} : { target: wish.target }),
    });
    const { folders, blobs } = images;
    const { secrets, usesCache, network, allowsHostNetwork } = wish;
    const { epochMs, hold, tell, context } = frame;
    const build = new Build({
      plan,
      stageLayers: this.#stageLayers,
      bases: new BaseImages({ images, blobs, folders, servers }, wish.pulls),
      context,
      frame: { secrets, epochMs, usesCache, network, allowsHostNetwork, hold },
      pathOf: (layer) => folders.pathOf(layer),
      now: () => clock.now(),
      tell,
    });
    return await build.run(signal);
  }

  async #put(
    wish: BuildWish,
    { state, layers, at }: BuiltStage,
    { epochMs, hold }: { readonly epochMs: Instant | undefined; readonly hold: (part: Digest) => void },
    signal: AbortSignal,
  ): Promise<Digest> {
    const { dir, images, servers } = this.#parts;
    const image = { ...state, config: { ...state.config, labels: { ...state.config.labels, ...wish.labels } } };
    const place = { dir: join(dir, 'packed'), blobs: images.blobs, folders: images.folders, hold };
    const making = { image, layers, at: clampedTo(at, epochMs), names: wish.names };
    return await putImage(servers(), await madeImage(place, making, signal), signal);
  }
}

async function removeNamed(dir: string, isLeft: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(dir)) if (isLeft(name)) await rm(join(dir, name), { force: true });
}

/** Seconds since 1970. Source: reproducible-builds.org, SOURCE_DATE_EPOCH. */
function epochOf(text: string | undefined): Instant | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1_000;
  throw new ClusterError('invalid', `SOURCE_DATE_EPOCH is "${text}", not a number of seconds`, {
    field: 'SOURCE_DATE_EPOCH',
    hint: 'for instance: --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)',
  });
}
