/**
 * The steps of a build that change files: each becomes a layer's folder, or is found in the cache. Comes in: a ready step and the stage
 * so far. Goes out: the layer. Several steps, of one build or of more, may be at it at once.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { digestOf } from '../../common/oci/digest.ts';
import type { TreeEntry } from '../../common/oci/tree-entry.ts';
import { SingleFlight } from '../../common/single-flight.ts';
import type { Turns } from '../../common/turns.ts';
import type { LayerFolders } from '../image/layer-folders.ts';
import { makeLayer } from '../image/layer-writer.ts';
import type { TreeLayer } from '../image/tree.ts';
import type { PlacedFile } from '../runtime/runtime.ts';
import { bytesOf } from './byte-paths.ts';
import { noYoungerThan } from './changes.ts';
import { cacheKey, type LayerStep } from './dockerfile/cache-key.ts';
import { argvOf, runEnv, type StageState, workdirAfter } from './dockerfile/state.ts';
import type { RunStep } from './dockerfile/steps.ts';
import type { RunMounts } from './mounts.ts';
import { type RunRequest, type RunTools, runStep } from './run-step.ts';
import type { Outcome, StepCache } from './step-cache.ts';
import { transferred } from './transfer.ts';
import { type Fetch, mountContents, TransferSources, type TreeOf } from './transfer-sources.ts';
import { Undo } from './undo.ts';

export interface LayerTools extends RunTools {
  readonly folders: LayerFolders;
  readonly cache: StepCache;
  readonly mounts: RunMounts;
  readonly fetch: Fetch;
  readonly clock: Clock;
  /** Bounds the steps that work at once. */
  readonly turns: Turns;
  readonly files: () => Promise<readonly PlacedFile[]>;
  /** An empty folder: what a container of a stage without layers lies over. */
  readonly emptyLayer: string;
  readonly resolveOwner: (
    layers: readonly string[],
    owner: string,
  ) => Promise<{ readonly uid: number; readonly gid: number }>;
}

/** What one build gives to all its steps. */
export interface BuildFrame {
  readonly treeOf: TreeOf;
  readonly secrets: ReadonlyMap<string, Uint8Array>;
  readonly epochMs: Instant | undefined;
  readonly usesCache: boolean;
  /** Of RUNs that do not say. */
  readonly network: RunRequest['network'];
  /** RUNs may share the host's network, and with it the host's user ids. */
  readonly allowsHostNetwork: boolean;
  /** Told each layer that the build needs from now on. */
  readonly hold: (layer: Digest) => void;
}

export interface StepPlace {
  readonly state: StageState;
  /** Lowest first. */
  readonly layers: readonly Digest[];
  readonly onOutput: RunRequest['onOutput'];
}

export class StageLayers {
  readonly #tools: LayerTools;
  readonly #flights = new SingleFlight<string, Outcome>();
  /** The last work of a key, and the signal of whose it was. */
  readonly #working = new Map<string, { readonly working: Promise<Outcome>; readonly starter: AbortSignal }>();

  constructor(tools: LayerTools) {
    this.#tools = tools;
  }

  /** @throws ClusterError as the step's own rules say, `exhausted` for a full disk */
  async make(
    step: LayerStep,
    place: StepPlace,
    frame: BuildFrame,
    signal: AbortSignal,
  ): Promise<Outcome & { readonly isCached: boolean }> {
    if (step.kind === 'run') proveAllowed(step, frame);
    const sources = new TransferSources(frame.treeOf, this.#tools.fetch);
    try {
      const contents =
        step.kind === 'run'
          ? await mountContents(step, frame.treeOf, signal)
          : step.kind === 'workdir'
            ? []
            : await sources.digests(step, signal);
      const parent = digestOf(JSON.stringify(place.layers));
      const epoch = frame.epochMs === undefined ? {} : { epochMs: frame.epochMs };
      const key = cacheKey({ parent, step, state: place.state, contents, ...epoch });
      const found = frame.usesCache ? await this.#cached(key, frame) : undefined;
      if (found !== undefined) return { ...found, isCached: true };
      const work = async (shared: AbortSignal): Promise<Outcome> => {
        const outcome = await this.#tools.turns.run(() => this.#work(step, { place, frame, sources }, shared), shared);
        await this.#tools.cache.keep(key, outcome);
        return outcome;
      };
      const outcome = await (frame.usesCache ? this.#joined(key, work, signal) : work(signal));
      this.#working.delete(key);
      frame.hold(outcome.layer);
      return { ...outcome, isCached: false };
    } finally {
      await sources.close();
    }
  }

  /** Shares the work of who came first. The last one who gives it up waits until nothing of it is left. */
  async #joined(key: string, work: (shared: AbortSignal) => Promise<Outcome>, signal: AbortSignal): Promise<Outcome> {
    for (;;) {
      const kept = (shared: AbortSignal): Promise<Outcome> => {
        const working = work(shared);
        this.#working.set(key, { working, starter: signal });
        return working;
      };
      try {
        return await this.#flights.run(key, kept, signal);
      } catch (cause) {
        const first = this.#working.get(key);
        if (!this.#flights.keys.includes(key)) await first?.working.catch(() => undefined);
        if (this.#working.get(key) === first) this.#working.delete(key);
        // Its context went with who began it; ours is still here.
        const isOrphan = first !== undefined && first.starter !== signal && first.starter.aborted;
        if (signal.aborted || !isOrphan) throw cause;
      }
    }
  }

  async #cached(key: string, frame: BuildFrame): Promise<Outcome | undefined> {
    const { cache, folders } = this.#tools;
    const found = await cache.find(key);
    if (found === undefined) return undefined;
    frame.hold(found.layer);
    if (await folders.has(found.layer)) return found;
    await cache.forget(key);
    return undefined;
  }

  async #work(
    step: LayerStep,
    {
      place,
      frame,
      sources,
    }: { readonly place: StepPlace; readonly frame: BuildFrame; readonly sources: TransferSources },
    signal: AbortSignal,
  ): Promise<Outcome> {
    if (step.kind === 'run') return await this.#run(step, place, frame, signal);
    const base = this.#trees('link' in step && step.link ? [] : place.layers);
    const now = frame.epochMs ?? this.#tools.clock.now();
    if (step.kind === 'workdir') {
      const dest = bytesOf(workdirAfter(place.state.config, step.path));
      const owner = await this.#owner(place, place.state.config.user);
      const empty = { kind: 'archive', entries: nothing() } as const;
      return await this.#layer(
        transferred({ items: [empty], base, dest, isFolder: true, owner, now }, signal),
        frame,
        signal,
      );
    }
    // A number alone is user and group. Source: Dockerfile reference, "COPY --chown".
    const chown = step.chown !== undefined && /^\d+$/.test(step.chown) ? `${step.chown}:${step.chown}` : step.chown;
    const owner = chown === undefined ? {} : { owner: await this.#owner(place, chown) };
    const transfer = { ...(await sources.transfer(step, place.state.config, signal)), ...owner, base, now };
    return await this.#layer(transferred(transfer, signal), frame, signal);
  }

  async #run(step: RunStep, place: StepPlace, frame: BuildFrame, signal: AbortSignal): Promise<Outcome> {
    const {
      state: { config },
      onOutput,
    } = place;
    const tools = this.#tools;
    const undo = new Undo();
    try {
      const request: RunRequest = {
        layers: place.layers.length === 0 ? [tools.emptyLayer] : this.#paths(place.layers),
        argv: argvOf(step.command, config),
        env: runEnv(config, [...step.args, ...step.proxies]),
        workdir: config.workdir,
        user: config.user,
        mounts: await tools.mounts.make(step, frame, undo, signal),
        files: await tools.files(),
        network: networkOf(step, frame),
        onOutput,
      };
      return await runStep(tools, request, (changes) => this.#layer(changes, frame, signal), signal);
    } finally {
      await undo.all();
    }
  }

  async #layer(entries: AsyncIterable<TreeEntry>, frame: BuildFrame, signal: AbortSignal): Promise<Outcome> {
    let bytes = 0;
    async function* counted(): AsyncGenerator<TreeEntry> {
      for await (const entry of noYoungerThan(entries, frame.epochMs)) {
        if (entry.kind === 'file') bytes += entry.size;
        yield entry;
      }
    }
    const layer = await makeLayer(this.#tools.folders, counted(), frame.hold, signal);
    return { layer, bytes, at: frame.epochMs ?? this.#tools.clock.now() };
  }

  /** Names are those of the stage's own files. */
  async #owner(place: StepPlace, owner: string): Promise<{ readonly uid: number; readonly gid: number }> {
    if (owner === '') return { uid: 0, gid: 0 };
    const layers = this.#paths(place.layers);
    return await this.#tools.resolveOwner(layers.length === 0 ? [this.#tools.emptyLayer] : layers.toReversed(), owner);
  }

  /** Folders, lowest first; one that occurs twice counts where it is highest. */
  #paths(layers: readonly Digest[]): readonly string[] {
    return layers
      .filter((layer, at) => layers.lastIndexOf(layer) === at)
      .map((layer) => this.#tools.folders.pathOf(layer));
  }

  #trees(layers: readonly Digest[]): readonly TreeLayer[] {
    return this.#paths(layers)
      .map((path) => ({ path, idBase: 0 }))
      .toReversed();
  }
}

function networkOf(step: RunStep, frame: BuildFrame): RunRequest['network'] {
  return step.network === 'default' ? frame.network : step.network;
}

/** Also what the cache has is refused: what a Dockerfile asks for must not depend on what was built before. */
function proveAllowed(step: RunStep, frame: BuildFrame): void {
  if (networkOf(step, frame) !== 'host' || frame.allowsHostNetwork) return;
  throw new ClusterError('invalid', 'RUN --network=host is not allowed to this build', {
    field: 'network',
    hint: 'build with --allow network.host: the command then has the host’s network and, in its container, the host’s user ids',
  });
}

async function* nothing(): AsyncGenerator<TreeEntry> {}
