/**
 * Brings the pieces of one blob here. In: who has it or takes it, as that changes. Out: a file that grows until it is whole.
 * Other nodes are asked for what they have, a manager for what nobody has; what to ask next is choice.ts's to say. A node
 * that lies is not asked again, one that stalls or vanishes not soon.
 */
import type { Clock } from '../../common/clock.ts';
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Log } from '../../common/log.ts';
import type { Digest, Instant } from '../../common/model/ids.ts';
import { lengthOf, PieceSet } from '../../common/oci/cut.ts';
import { isOwnTrouble } from '../../common/oci/disk.ts';
import type { Throttle } from '../../common/throttle.ts';
import {
  NEIGHBOURS_MAX,
  nextInRing,
  nextLines,
  nextNeighbours,
  nextPiece,
  patienceMs,
  type Situation,
} from './choice.ts';
import { Link, type PieceServer } from './link.ts';
import type { PieceFile } from './piece-file.ts';

/** Somebody who has the blob or takes it. */
export interface Member {
  readonly id: string;
  /** HOST:PORT */
  readonly address: string;
  readonly isWhole: boolean;
}

/** Managers, as far as a blob's pieces go. */
export interface OriginDoor {
  /**
   * A piece of those; undefined: the other nodes have them all.
   * @throws ClusterError `not_found` | `unavailable` and others when no manager gives one
   */
  take(
    lacking: PieceSet,
    isUrgent: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly index: number; readonly bytes: Uint8Array } | undefined>;
}

export interface DownloadTools {
  /** This node's id. */
  readonly self: string;
  readonly digest: Digest;
  readonly file: PieceFile;
  readonly members: () => readonly Member[];
  /** True for a node that this one is connected to. */
  readonly isNear: (address: string) => boolean;
  /** A connection to it, until `close`. */
  readonly connect: (member: Member) => { readonly server: PieceServer; readonly close: () => void };
  readonly origin: OriginDoor;
  /** Nodes that gave wrong bytes, of this blob or another. */
  readonly liars: Set<string>;
  readonly downloads: Throttle;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

/** What this host's line has still to carry before more is asked for. */
const AHEAD_MS = 250;
/** Asks of managers at once: one is answered while the other waits. */
const ORIGIN_ASKS = 2;
/** An average looks back on about so many pieces. */
const GAP_SPAN = 8;
/** A node that did not answer is not asked again before. */
const AVOID_MS = 30_000;
/** Managers that do not answer are asked again after this. */
const ORIGIN_RETRY_MS = 1_000;
const ORIGIN_FAILURES_MAX = 3;
/** Given up when nothing has come from anybody for so long; what is here stays for the next try. */
export const NOTHING_MS = 60_000;

export class Download {
  readonly #tools: DownloadTools;
  readonly #links = new Map<string, Link>();
  /** Until when a node is not asked. */
  readonly #avoided = new Map<string, Instant>();
  #changed = withResolvers<void>();
  /** Who could be talked to has changed: pieces come far more often. */
  #mayMeet = true;
  #fromOthersAt: Instant;
  #gapMs: number | undefined;
  #progressAt: Instant;
  /** Since when the managers have said that the others have it all. */
  #restingAt: Instant | undefined;
  #originFailures: ClusterError[] = [];

  constructor(tools: DownloadTools) {
    this.#tools = tools;
    this.#fromOthersAt = tools.clock.now();
    this.#progressAt = this.#fromOthersAt;
  }

  /** There may be somebody new to ask. */
  stir(): void {
    this.#mayMeet = true;
    this.#wake();
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = withResolvers();
    changed.resolve();
  }

  /**
   * Resolves when the file is whole.
   * @throws ClusterError `unavailable` | `not_found` when nobody gives what is missing, `exhausted` for a full disk
   */
  async run(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const ending = AbortSignal.any([signal, stop.signal]);
    const fail = (cause: unknown): void => stop.abort(cause);
    const loops = [this.#askOthers(ending, fail)];
    for (let each = 0; each < ORIGIN_ASKS; each += 1) loops.push(this.#askManagers(ending));
    for (const loop of loops) loop.catch(fail);
    try {
      await untilAborted(Promise.all(loops), ending);
    } finally {
      stop.abort();
      const over = new ClusterError('unavailable', 'the blob is here, or was given up');
      for (const link of this.#links.values()) link.end(over);
    }
  }

  async #askOthers(signal: AbortSignal, fail: (cause: unknown) => void): Promise<void> {
    const { file, downloads, clock } = this.#tools;
    while (!file.has.isWhole) {
      signal.throwIfAborted();
      if (clock.now() - this.#progressAt >= NOTHING_MS) throw this.#verdict();
      this.#giveUpLate();
      this.#meet(signal, fail);
      const pauseMs = downloads.aheadMs - AHEAD_MS;
      if (pauseMs <= 0) this.#line();
      await this.#wait(
        Math.min(this.#lookAgainAt(), pauseMs > 0 ? clock.now() + pauseMs : Number.POSITIVE_INFINITY),
        signal,
      );
    }
  }

  /** Waits in line at everybody who has something that is wanted. */
  #line(): void {
    const links = [...this.#links.values()];
    const idle = links.filter(({ isIdle }) => isIdle);
    const waiting = links.length - idle.length;
    for (const link of nextLines(this.#situation(), { idle, waiting }, this.#tools.random)) link.ready();
  }

  #chooseFrom(link: Link): number | undefined {
    const { file, downloads, random } = this.#tools;
    const index = nextPiece(this.#situation(), link, random);
    if (index !== undefined) downloads.charge(lengthOf(file.list, index));
    return index;
  }

  #situation(): Situation {
    const neighbours = [...this.#links.values()];
    return { has: this.#tools.file.has, underway: this.#underway, neighbours };
  }

  get #underway(): ReadonlySet<number> {
    return new Set([...this.#links.values()].flatMap(({ underway }) => (underway === undefined ? [] : [underway])));
  }

  async #askManagers(signal: AbortSignal): Promise<void> {
    const { file, downloads, origin, clock } = this.#tools;
    while (!file.has.isWhole) {
      signal.throwIfAborted();
      const isUrgent = this.#restingAt !== undefined;
      const at = this.#urgentAt();
      const lacking = this.#unasked();
      if (lacking.size === 0 || at === undefined || at > clock.now()) {
        await this.#wait(lacking.size === 0 ? undefined : at, signal);
        continue;
      }
      try {
        const taken = await origin.take(lacking, isUrgent, signal);
        this.#originFailures = [];
        if (taken === undefined) {
          this.#restingAt = clock.now();
          continue;
        }
        downloads.charge(taken.bytes.length);
        await this.#write(taken.index, taken.bytes);
      } catch (cause) {
        signal.throwIfAborted();
        const error = toClusterError(cause);
        if (isOwnTrouble(error)) throw error;
        this.#originFailures.push(error);
        if (this.#originFailures.length >= ORIGIN_FAILURES_MAX && this.#isAlone()) throw this.#verdict();
        await clock.sleep(ORIGIN_RETRY_MS, signal);
      }
    }
  }

  async #write(index: number, bytes: Uint8Array): Promise<void> {
    await this.#tools.file.write(index, bytes);
    this.#progressAt = this.#tools.clock.now();
    this.#wake();
  }

  #unasked(): PieceSet {
    const { lacking } = this.#tools.file.has;
    const underway = this.#underway;
    const unasked = new PieceSet(lacking.count);
    for (let index = 0; index < lacking.count; index += 1)
      if (lacking.has(index) && !underway.has(index)) unasked.add(index);
    return unasked;
  }

  /** When a manager may be asked; undefined: not before something changes. */
  #urgentAt(): Instant | undefined {
    if (this.#restingAt === undefined) return 0;
    if (this.#underway.size > 0) return undefined;
    const isInLine = [...this.#links.values()].some(({ isIdle }) => !isIdle);
    const pace = { isAlone: !isInLine && this.#isAlone(), isInLine, gapMs: this.#gapMs };
    return Math.max(this.#restingAt, this.#fromOthersAt) + patienceMs(pace);
  }

  #isAlone(): boolean {
    return this.#links.size === 0 && this.#strangers().length === 0;
  }

  #strangers(): readonly Member[] {
    const { members, liars, clock } = this.#tools;
    const now = clock.now();
    return members().filter(({ id }) => !this.#links.has(id) && !liars.has(id) && (this.#avoided.get(id) ?? 0) <= now);
  }

  #meet(signal: AbortSignal, fail: (cause: unknown) => void): void {
    if (!this.#mayMeet || this.#links.size >= NEIGHBOURS_MAX) return;
    this.#mayMeet = false;
    const { self, members, isNear, random } = this.#tools;
    const strangers = this.#strangers();
    const next = nextInRing(
      self,
      members().map(({ id }) => id),
    );
    const candidates = strangers.map(({ id, address, isWhole }) => ({
      id,
      isWhole,
      isNear: isNear(address),
      isNext: id === next,
    }));
    for (const id of nextNeighbours([...this.#links.values()], candidates, random)) {
      const member = strangers.find((each) => each.id === id);
      if (member !== undefined) this.#link(member, signal, fail);
    }
  }

  #link(member: Member, signal: AbortSignal, fail: (cause: unknown) => void): void {
    const { digest, file, clock, log, liars, connect } = this.#tools;
    const { server, close } = connect(member);
    const link: Link = new Link({
      id: member.id,
      server,
      digest,
      clock,
      onNews: () => this.#wake(),
      onTurn: () => this.#chooseFrom(link),
      onPiece: async (index, bytes) => {
        await this.#write(index, bytes);
        const gapMs = this.#progressAt - this.#fromOthersAt;
        this.#gapMs = this.#gapMs === undefined ? gapMs : this.#gapMs + (gapMs - this.#gapMs) / GAP_SPAN;
        this.#fromOthersAt = this.#progressAt;
      },
    });
    this.#links.set(member.id, link);
    link.run(file.list).catch((cause: unknown) => {
      this.#links.delete(member.id);
      close();
      if (signal.aborted) return;
      const error = toClusterError(cause);
      this.#avoided.set(member.id, clock.now() + AVOID_MS);
      if (isOwnTrouble(error)) return fail(error);
      if (error.code === 'invalid') {
        liars.add(member.id);
        log.warn({ nodeId: member.id, digest, cause }, 'a node gave what is not the blob: it is not asked again');
      } else {
        log.debug({ nodeId: member.id, digest, cause }, 'a node gives no more');
      }
      this.stir();
    });
  }

  #giveUpLate(): void {
    const now = this.#tools.clock.now();
    for (const link of this.#links.values()) {
      if (link.dueAt !== undefined && link.dueAt <= now)
        link.end(new ClusterError('unavailable', `node ${link.id} has stalled`));
    }
  }

  #lookAgainAt(): Instant {
    const dues = [...this.#links.values()].flatMap(({ dueAt }) => (dueAt === undefined ? [] : [dueAt]));
    const now = this.#tools.clock.now();
    const returns = [...this.#avoided.values()].filter((at) => at > now);
    return Math.min(...dues, ...returns, this.#progressAt + NOTHING_MS);
  }

  async #wait(until: Instant | undefined, signal: AbortSignal): Promise<void> {
    const { clock } = this.#tools;
    const { promise } = this.#changed;
    const ms = until === undefined ? NOTHING_MS : Math.max(until - clock.now(), 1);
    const cancel = clock.after(ms, () => this.stir());
    try {
      await untilAborted(promise, signal);
    } finally {
      cancel();
    }
  }

  #verdict(): ClusterError {
    const { digest } = this.#tools;
    const last = this.#originFailures.at(-1);
    if (last?.code === 'not_found' && this.#originFailures.every(({ code }) => code === 'not_found')) return last;
    const why = last === undefined ? 'nobody gives what is missing' : last.message;
    return new ClusterError('unavailable', `blob ${digest}: ${why}`, { hint: 'it is tried again', cause: last });
  }
}
