/**
 * The runtime of real hosts: containers through the native core, one shim each.
 *
 * Comes in: the agent's requests. Goes out: containers whose identity lies on disk, so that another agent process finds
 * them again. It keeps in memory only what it can read again: a container's life is its shim's.
 */
import { constants } from 'node:os';
import type { Clock } from '../../common/clock.ts';
import { ClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { ContainerIdentity, ProcessWatch } from '../../native/container.ts';
import { isNativeError } from '../../native/error.ts';
import { type Addon, builtFile } from '../../native/index.ts';
import type { TreeLayer } from '../../native/tree.ts';
import { AttachedSession, codeOf } from './attached.ts';
import { ContainerFolder, type ContainerNote, folderIds } from './container-folder.ts';
import { endSoon } from './ending.ts';
import type { ExecSession, OpenExecRequest, TerminalSize } from './exec.ts';
import { containerOf, type Held, lost, NOBODY, taken } from './held.ts';
import { type HostFacts, hostFacts } from './host-facts.ts';
import { IdLedger } from './id-ledger.ts';
import { makeContainer, remakeContainer, type Workshop } from './making.ts';
import { type ExecPlace, openExecIn, runExec } from './native-exec.ts';
import { FIRST_RUN, runsIn } from './past-runs.ts';
import {
  CONTAINER_ID,
  type Container,
  type ContainerState,
  type CreateRequest,
  type ExecRequest,
  type ExecResult,
  type Exit,
  type ResourceUpdate,
  type Runtime,
  type Stats,
  type StopRequest,
} from './runtime.ts';
import { isLastStep, runtimeError } from './runtime-error.ts';
import { signalNumber } from './signal.ts';
import type { UserNamespaces } from './user-namespaces.ts';

export interface NativeRuntimeOptions {
  /** Made when missing; on the file system that holds the writable layers. */
  readonly stateDir: string;
  /** Absolute cgroup path below which each container gets its own; see cgroup-parent.ts. */
  readonly cgroupParent: string;
  readonly clock: Clock;
  /** Default: they work, with the default ids. */
  readonly userns?: UserNamespaces;
  readonly addon: Addon;
  /** Default `auto`; the others are for tests. */
  readonly overlayMode?: 'auto' | 'fsconfig' | 'mount';
  /** Default: the one built beside the addon; tests take the one with sync points. One per process. */
  readonly shimPath?: string;
}

export class NativeRuntime implements Runtime {
  readonly #options: NativeRuntimeOptions;
  readonly #addon: Addon;
  readonly #shimPath: string;
  readonly #ids: IdLedger;
  readonly #held = new Map<string, Held>();
  /** Ids whose folder is being made; `list` must not take them for leftovers. */
  readonly #making = new Set<string>();
  /** Ids that `remove` is at. */
  readonly #leaving = new Set<string>();
  /** The folders of the disk and of the cgroups that everything lies in. */
  #ready: Promise<void> | undefined;
  #host: HostFacts | undefined;

  constructor(options: NativeRuntimeOptions) {
    this.#options = options;
    this.#addon = options.addon;
    this.#ids = new IdLedger(options.stateDir, options.addon, options.userns);
    this.#shimPath = options.shimPath ?? builtFile('covey-shim');
  }

  async create(request: CreateRequest, signal: AbortSignal): Promise<Container> {
    const { id } = request;
    signal.throwIfAborted();
    if (!CONTAINER_ID.test(id))
      throw new ClusterError('invalid', `container id "${id}" is not 1–64 characters of a-z 0-9 . _ -`);
    if (this.#making.has(id) || this.#held.has(id)) throw taken(id);
    this.#making.add(id);
    try {
      const held = await this.#make(request);
      this.#held.set(id, held);
      if (!signal.aborted) return containerOf(held);
      await this.remove(id);
      throw signal.reason;
    } finally {
      this.#making.delete(id);
    }
  }

  async remake(request: CreateRequest, signal: AbortSignal): Promise<Container> {
    const { id } = request;
    signal.throwIfAborted();
    const old = this.#inState(id, 'exited');
    if (this.#making.has(id)) throw taken(id);
    this.#making.add(id);
    try {
      await this.#prepared();
      await this.#addon.watchProcess(old.identity.shimPid, old.identity.shimStartTime).ended;
      const identity = await remakeContainer(this.#workshop, old, request);
      this.#held.set(id, this.#hold(old.note, old.folder, identity, { attendance: undefined, runs: FIRST_RUN }));
      return containerOf(this.#find(id));
    } finally {
      this.#making.delete(id);
    }
  }

  async start(id: string, signal: AbortSignal): Promise<Container> {
    const held = this.#find(id);
    signal.throwIfAborted();
    try {
      held.attendance = await this.#addon.containerStart(held.folder.path);
      if (this.#find(id).state === 'exited') held.attendance.release();
    } catch (cause) {
      if (isNativeError(cause) && isLastStep(cause.step)) await held.ended;
      throw runtimeError(cause, `container ${id}`);
    }
    if (held.state === 'created') held.state = 'running';
    return containerOf(held);
  }

  async wait(id: string, signal: AbortSignal): Promise<Exit> {
    return untilAborted(this.#find(id).ended, signal);
  }

  async kill(id: string, number: number): Promise<boolean> {
    const held = this.#find(id);
    if (held.state === 'exited') return false;
    if (number === constants.signals.SIGKILL) await this.#addon.cgroupKill(held.note.cgroup);
    return (
      this.#addon.signal(held.identity.pid, held.identity.startTime, number) || number === constants.signals.SIGKILL
    );
  }

  async stop(id: string, request: StopRequest, signal: AbortSignal): Promise<Exit> {
    const held = this.#find(id);
    signal.throwIfAborted();
    // One that waits to be started has no handlers; its command never ran.
    const hasRun = held.state !== 'created';
    // Should we die before it has ended, it is not to be run again.
    held.attendance?.retire();
    if (hasRun) await this.kill(id, signalNumber(request.stopSignal));
    // The signal waits for it; Docker does the same.
    if (held.state === 'paused') await this.resume(id);
    const graceMs = hasRun ? request.graceMs : 0;
    const overdue = new AbortController();
    const cancel = this.#options.clock.after(graceMs, () => overdue.abort());
    try {
      return await untilAborted(held.ended, AbortSignal.any([signal, overdue.signal]));
    } catch (cause) {
      signal.throwIfAborted();
      if (!overdue.signal.aborted) throw cause;
    } finally {
      cancel();
    }
    await this.kill(id, constants.signals.SIGKILL);
    return untilAborted(held.ended, signal);
  }

  async exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecResult> {
    signal.throwIfAborted();
    return runExec(this.#addon, await this.#placeOf(id), request, signal);
  }

  async pause(id: string): Promise<void> {
    const held = this.#inState(id, 'running');
    await this.#ask(id, () => this.#addon.cgroupPause(held.note.cgroup));
    if (held.state === 'running') held.state = 'paused';
  }

  async resume(id: string): Promise<void> {
    const held = this.#inState(id, 'paused');
    await this.#ask(id, () => this.#addon.cgroupResume(held.note.cgroup));
    if (held.state === 'paused') held.state = 'running';
  }

  async update(id: string, resources: ResourceUpdate): Promise<void> {
    const held = this.#find(id);
    if (held.state === 'exited') throw new ClusterError('conflict', `container ${id} has ended`);
    await this.#ask(id, () => this.#addon.cgroupUpdate(held.note.cgroup, JSON.stringify(resources)));
  }

  async openExec(id: string, request: OpenExecRequest, signal: AbortSignal): Promise<ExecSession> {
    signal.throwIfAborted();
    const held = this.#inState(id, 'running');
    const isHeld = (): boolean => this.#held.get(id) === held && !this.#leaving.has(id);
    return openExecIn(this.#addon, { held, isHeld, place: () => this.#placeOf(id) }, request, signal);
  }

  async attach(id: string, { types }: { readonly types: boolean }, signal: AbortSignal): Promise<ExecSession> {
    const held = this.#find(id);
    signal.throwIfAborted();
    if (held.state === 'exited') throw new ClusterError('conflict', `container ${id} has ended`);
    const listening = await this.#ask(id, () => this.#addon.containerAttach(held.folder.path, types));
    const resize = (size: TerminalSize): Promise<void> => this.resize(id, size);
    return new AttachedSession(listening, { ended: held.ended.then(codeOf), resize });
  }

  async resize(id: string, { rows, columns }: TerminalSize): Promise<void> {
    const held = this.#find(id);
    await this.#ask(id, () => this.#addon.containerResize(held.folder.path, rows, columns));
  }

  async stats(id: string): Promise<Stats> {
    const held = this.#find(id);
    return this.#ask(id, () => this.#addon.cgroupStats(held.note.cgroup));
  }

  async writable(id: string): Promise<TreeLayer> {
    const { folder, note } = this.#find(id);
    return { path: folder.upperPath, idBase: note.ids?.base ?? 0 };
  }

  async remove(id: string): Promise<void> {
    if (!CONTAINER_ID.test(id)) return;
    const held = this.#held.get(id);
    const folder = held?.folder ?? new ContainerFolder(this.#options.stateDir, id);
    const identity = held?.identity ?? (await this.#addon.containerIdentify(folder.path));
    this.#leaving.add(id);
    try {
      if (identity !== null) await endSoon(this.#addon, this.#options.clock, identity);
      await this.#addon.cgroupRemove(`${this.#options.cgroupParent}/${id}`);
      await Promise.allSettled([...(held?.execs ?? [])].map((session) => session.ended));
      if (identity !== null) await this.#addon.watchProcess(identity.shimPid, identity.shimStartTime).ended;
      await folder.remove(this.#addon);
      await this.#ids.free(id);
      this.#held.delete(id);
    } catch (cause) {
      throw runtimeError(cause, `container ${id}`);
    } finally {
      this.#leaving.delete(id);
    }
  }

  async list(signal: AbortSignal): Promise<readonly Container[]> {
    await this.#addon.makeSpreadFolder(this.#options.stateDir);
    for (const id of await folderIds(this.#options.stateDir, this.#addon, this.#leaving)) {
      signal.throwIfAborted();
      if (this.#held.has(id) || this.#making.has(id)) continue;
      await this.#readopt(id);
    }
    await this.#sweepCgroups();
    return [...this.#held.values()].map(containerOf);
  }

  /** Stops watching, so that the process can end; the containers live on. */
  close(): void {
    for (const held of this.#held.values()) {
      held.watch?.cancel();
      for (const session of held.execs) session.kill();
      held.attendance?.release();
    }
    this.#held.clear();
  }

  async #make(request: CreateRequest): Promise<Held> {
    const { id } = request;
    try {
      await this.#prepared();
      const ids = await this.#ids.take(id, request.template);
      const { note, folder, identity } = await makeContainer(this.#workshop, request, ids);
      return this.#hold(note, folder, identity, { attendance: undefined, runs: FIRST_RUN });
    } catch (cause) {
      this.#ready = undefined;
      await this.#ids.free(id);
      throw cause;
    }
  }

  get #workshop(): Workshop {
    const { cgroupParent, clock, overlayMode = 'auto', stateDir } = this.#options;
    this.#host ??= hostFacts();
    const tools = { addon: this.#addon, shimPath: this.#shimPath, host: this.#host };
    return { ...tools, cgroupParent, clock, overlayMode, stateDir };
  }

  async #prepared(): Promise<void> {
    this.#ready ??= Promise.all([
      this.#addon.makeSpreadFolder(this.#options.stateDir),
      this.#addon.cgroupEnsureParent(this.#options.cgroupParent),
    ]).then(() => undefined);
    try {
      await this.#ready;
    } catch (cause) {
      this.#ready = undefined;
      throw cause;
    }
  }

  #hold(
    note: ContainerNote,
    folder: ContainerFolder,
    identity: ContainerIdentity,
    past: Pick<Held, 'attendance' | 'runs'>,
  ): Held {
    const watch = this.#addon.watchProcess(identity.shimPid, identity.shimStartTime);
    const state = identity.life === 'exited' ? 'running' : identity.life;
    const fresh = { exit: undefined, ended: Promise.resolve(lost(note, 0)), execs: new Set<ExecSession>() };
    const held: Held = { note, folder, identity, state, watch, ...fresh, ...past };
    held.ended = this.#endOf(held, watch);
    return held;
  }

  async #endOf(held: Held, watch: ProcessWatch): Promise<Exit> {
    // Cancelled by `close`: it goes on living, so nothing has ended.
    if (!(await watch.ended)) return withResolvers<Exit>().promise;
    const exit = (await held.folder.exit()) ?? lost(held.note, this.#options.clock.now());
    held.attendance?.release();
    held.exit = exit;
    held.state = 'exited';
    return exit;
  }

  /** A container of an earlier agent process, or what a crash has left of one. */
  async #readopt(id: string): Promise<void> {
    const folder = new ContainerFolder(this.#options.stateDir, id);
    const note = await folder.note();
    if (note === undefined) {
      await this.remove(id);
      return;
    }
    const found = await this.#addon.containerAttend(folder.path);
    // From now on the shim begins no further run: what lies on disk is the whole story.
    const runs = await runsIn(folder);
    if (found !== null) {
      const held = this.#hold(note, folder, found.identity, { attendance: found.attendance, runs });
      this.#held.set(id, held);
      if (held.state === 'running' && (await this.#addon.cgroupPaused(note.cgroup))) held.state = 'paused';
      return;
    }
    // Its agent died while it was being made: nothing has ever run in it.
    if ((await folder.state()) === undefined) return await this.remove(id);
    // Nobody proves to be it any more: whatever is left of its processes is nobody's.
    await this.#addon.cgroupKill(note.cgroup);
    const exit = (await folder.exit()) ?? lost(note, this.#options.clock.now());
    const identity = { ...NOBODY, run: runs.run };
    const ended = Promise.resolve(exit);
    const none = { watch: undefined, attendance: undefined, execs: new Set<ExecSession>() };
    this.#held.set(id, { note, folder, identity, state: 'exited', exit, runs, ended, ...none });
  }

  /** Cgroups whose folder is gone: a crash between the two steps of `remove`. */
  async #sweepCgroups(): Promise<void> {
    for (const name of await this.#addon.cgroupList(this.#options.cgroupParent)) {
      if (!CONTAINER_ID.test(name) || name === 'hold' || this.#held.has(name) || this.#making.has(name)) continue;
      await this.#addon.cgroupRemove(`${this.#options.cgroupParent}/${name}`);
    }
  }

  #inState(id: string, state: ContainerState): Held {
    const held = this.#find(id);
    if (held.state === state) return held;
    throw new ClusterError('conflict', `container ${id} is not ${state} but ${held.state}`);
  }

  async #ask<T>(id: string, question: () => Promise<T>): Promise<T> {
    try {
      return await question();
    } catch (cause) {
      throw runtimeError(cause, `container ${id}`);
    }
  }

  /** Where commands run, in one that runs itself. */
  async #placeOf(id: string): Promise<ExecPlace> {
    const { folder, note, identity } = this.#inState(id, 'running');
    const config = await folder.config();
    if (config === undefined) throw new ClusterError('internal', `container ${id}: its config.json is gone`);
    return {
      id,
      pid: identity.pid,
      startTime: identity.startTime,
      cgroup: note.cgroup,
      config,
      shimPath: this.#shimPath,
    };
  }

  #find(id: string): Held {
    const held = this.#held.get(id);
    if (held === undefined) throw new ClusterError('not_found', `container ${id} does not exist on this host`);
    return held;
  }
}
