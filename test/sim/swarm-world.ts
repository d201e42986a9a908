/**
 * A swarm without computers: the real choices (agent/mesh/choice.ts, manager/mesh/origin.ts) over lines that carry so many
 * bytes a second, in virtual time. One seed is one story. Every node takes all layers, a few at a time, from its neighbours
 * and from one manager.
 */
import {
  type Neighbour,
  nextInRing,
  nextLines,
  nextNeighbours,
  nextPiece,
  type Situation,
} from '../../agent/mesh/choice.ts';
import { PieceSet } from '../../common/oci/cut.ts';
import { Origin } from '../../manager/mesh/origin.ts';
import { TAKERS_EACH } from '../../manager/mesh/swarms.ts';

export interface SwarmPlan {
  readonly seed: number;
  readonly nodes: number;
  readonly layers: number;
  readonly piecesEach: number;
  /** Milliseconds that a piece takes on a node's line, each way, and on the manager's. */
  readonly pieceMs: number;
  readonly originPieceMs: number;
  /** Nodes that leave for good after so long, with what they have. */
  readonly leave?: ReadonlyMap<number, number>;
}

export interface SwarmStory {
  /** When each node that stayed had everything, in order. */
  readonly doneAt: readonly number[];
  /** Pieces that the manager gave, through the pieces of the image. */
  readonly egress: number;
  /** From a node to another that it asks, all in all. */
  readonly connections: number;
}

const LAYERS_AT_ONCE = 3;
const NEWS_MS = 100;
const NEWS_EVERY_MS = 500;
const MESSAGE_MS = 1;
const ORIGIN_ASKS = 2;
const AHEAD_MS = 250;
const URGENT_MS = 2_000;
/** A story that takes longer has gone wrong. */
const END_MS = 600_000;

class Line {
  #freeAt = 0;
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** When a piece that is sent now is through. */
  send(now: number): number {
    this.#freeAt = Math.max(now, this.#freeAt) + this.#ms;
    return this.#freeAt;
  }

  get freeAt(): number {
    return this.#freeAt;
  }
}

type Stage = 'idle' | 'waiting' | 'coming';

interface Taking {
  readonly has: PieceSet;
  readonly underway: Set<number>;
  readonly links: Map<number, { stage: Stage }>;
  asks: number;
  restingAt: number | undefined;
  fromOthersAt: number;
}

interface Waiting {
  readonly node: Node;
  readonly layer: number;
}

class Node {
  readonly id: number;
  readonly up: Line;
  readonly down: Line;
  readonly takings = new Map<number, Taking>();
  readonly near = new Set<number>();
  /** Who waits for this one to give. */
  readonly line: Waiting[] = [];
  isServing = false;
  next = 0;
  isGone = false;
  doneAt: number | undefined;

  constructor(id: number, ms: number) {
    this.id = id;
    this.up = new Line(ms);
    this.down = new Line(ms);
  }
}

export function swarmStory(plan: SwarmPlan): SwarmStory {
  return new SwarmWorld(plan).run();
}

class SwarmWorld {
  readonly #plan: SwarmPlan;
  readonly #nodes: readonly Node[];
  readonly #origins: readonly Origin[];
  readonly #originLine: Line;
  readonly #events: { at: number; order: number; act: () => void }[] = [];
  readonly #layerOf = new Map<PieceSet, number>();
  #now = 0;
  #order = 0;
  #state: number;
  #given = 0;

  constructor(plan: SwarmPlan) {
    this.#plan = plan;
    this.#state = plan.seed;
    this.#nodes = Array.from({ length: plan.nodes }, (_, id) => new Node(id, plan.pieceMs));
    this.#origins = Array.from({ length: plan.layers }, () => new Origin(plan.piecesEach));
    this.#originLine = new Line(plan.originPieceMs);
  }

  run(): SwarmStory {
    for (const node of this.#nodes) this.#begin(node);
    for (const [id, at] of this.#plan.leave ?? []) this.#after(at, () => this.#leave(this.#nodes[id] as Node));
    while (this.#events.length > 0 && this.#now < END_MS) {
      this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
      const event = this.#events.shift() as { at: number; act: () => void };
      this.#now = event.at;
      event.act();
    }
    const doneAt = this.#nodes.filter(({ isGone }) => !isGone).map((node) => node.doneAt ?? END_MS);
    const pieces = this.#plan.layers * this.#plan.piecesEach;
    const connections = this.#nodes.reduce((sum, { near }) => sum + near.size, 0);
    return { doneAt: doneAt.toSorted((a, b) => a - b), egress: this.#given / pieces, connections };
  }

  /** Source: mulberry32. */
  readonly #random = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };

  #after(ms: number, act: () => void): void {
    this.#order += 1;
    this.#events.push({ at: this.#now + ms, order: this.#order, act });
  }

  #begin(node: Node): void {
    const busy = [...node.takings.values()].filter(({ has }) => !has.isWhole).length;
    for (let each = busy; each < LAYERS_AT_ONCE && node.next < this.#plan.layers; each += 1) {
      const layer = node.next;
      node.next += 1;
      const has = new PieceSet(this.#plan.piecesEach);
      this.#layerOf.set(has, layer);
      const empty = { underway: new Set<number>(), links: new Map<number, { stage: Stage }>() };
      node.takings.set(layer, { has, ...empty, asks: 0, restingAt: undefined, fromOthersAt: this.#now });
      for (let ask = 0; ask < ORIGIN_ASKS; ask += 1) this.#askOrigin(node, layer, 'calm');
      this.#after(NEWS_MS, () => this.#meet(node, layer));
    }
  }

  #meet(node: Node, layer: number): void {
    const taking = node.takings.get(layer) as Taking;
    if (node.isGone || taking.has.isWhole) return;
    for (const id of taking.links.keys()) if (this.#nodes[id]?.isGone === true) taking.links.delete(id);
    const isWhole = (id: number): boolean => this.#nodes[id]?.takings.get(layer)?.has.isWhole === true;
    const takers = this.#nodes.filter((other) => !other.isGone && other.takings.has(layer)).map(({ id }) => String(id));
    const next = nextInRing(String(node.id), takers);
    const candidates = this.#nodes
      .filter((other) => other !== node && !other.isGone && other.takings.has(layer) && !taking.links.has(other.id))
      .map(({ id }) => ({
        id: String(id),
        isWhole: isWhole(id),
        isNear: node.near.has(id),
        isNext: String(id) === next,
      }));
    const current = [...taking.links.keys()].map((id) => ({ isWhole: isWhole(id) }));
    for (const id of nextNeighbours(current, candidates, this.#random).map(Number)) {
      taking.links.set(id, { stage: 'idle' });
      node.near.add(id);
    }
    this.#ask(node, layer);
    this.#after(NEWS_EVERY_MS, () => this.#meet(node, layer));
  }

  #ask(node: Node, layer: number): void {
    const taking = node.takings.get(layer);
    if (taking === undefined || node.isGone || taking.has.isWhole) return;
    if (this.#aheadMs(node) > AHEAD_MS) {
      this.#after(this.#aheadMs(node) - AHEAD_MS, () => this.#ask(node, layer));
    } else {
      const situation = this.#situation(taking);
      const links = [...taking.links].filter(([id]) => this.#nodes[id]?.isGone === false);
      const free = links.filter(([, { stage }]) => stage === 'idle');
      const idle = free.map(([id]) => this.#neighbour(this.#nodes[id] as Node, layer));
      const lines = nextLines(situation, { idle, waiting: links.length - free.length }, this.#random);
      for (const giver of lines.map(({ id }) => this.#nodes[Number(id)] as Node)) {
        taking.links.set(giver.id, { stage: 'waiting' });
        giver.line.push({ node, layer });
        this.#after(MESSAGE_MS, () => this.#serve(giver));
      }
    }
    this.#sigh(node, layer);
  }

  /** The next in line says what it takes, when the line is free and not before. */
  #serve(giver: Node): void {
    if (giver.isServing || giver.isGone) return;
    const next = giver.line.shift();
    if (next === undefined) return;
    const { node, layer } = next;
    const taking = node.takings.get(layer) as Taking;
    const link = taking.links.get(giver.id) ?? { stage: 'idle' };
    const isReady = !node.isGone && !taking.has.isWhole;
    const neighbour = this.#neighbour(giver, layer);
    const index = isReady ? nextPiece(this.#situation(taking), neighbour, this.#random) : undefined;
    if (index === undefined) {
      link.stage = 'idle';
      this.#after(0, () => this.#ask(node, layer));
      this.#after(2 * MESSAGE_MS, () => this.#serve(giver));
      return;
    }
    link.stage = 'coming';
    taking.underway.add(index);
    node.down.send(this.#now);
    giver.isServing = true;
    this.#after(giver.up.send(this.#now) - this.#now + 2 * MESSAGE_MS, () => {
      giver.isServing = false;
      link.stage = 'idle';
      taking.underway.delete(index);
      if (!giver.isGone) {
        taking.fromOthersAt = this.#now;
        this.#gain(node, layer, index);
        this.#serve(giver);
      }
      this.#ask(node, layer);
    });
  }

  #aheadMs(node: Node): number {
    return Math.max(0, node.down.freeAt - this.#now);
  }

  #neighbour({ id, takings }: Node, layer: number): Neighbour {
    return { id: String(id), has: takings.get(layer)?.has ?? new PieceSet(this.#plan.piecesEach) };
  }

  #situation({ has, underway, links }: Taking): Situation {
    const layer = this.#layerOf.get(has) as number;
    const neighbours = [...links.keys()].map((id) => this.#neighbour(this.#nodes[id] as Node, layer));
    return { has, underway, neighbours };
  }

  /** A node that gets nothing from others says so. */
  #sigh(node: Node, layer: number): void {
    const taking = node.takings.get(layer) as Taking;
    if (taking.restingAt === undefined || taking.underway.size > 0 || taking.asks > 0) return;
    const at = Math.max(taking.restingAt, taking.fromOthersAt) + URGENT_MS;
    if (at <= this.#now) this.#askOrigin(node, layer, 'urgent');
  }

  #askOrigin(node: Node, layer: number, mood: 'calm' | 'urgent'): void {
    const taking = node.takings.get(layer) as Taking;
    taking.asks += 1;
    // The manager chooses when it is that node's turn.
    const turn = Math.max(MESSAGE_MS, this.#originLine.freeAt - this.#now);
    this.#after(turn, () => {
      taking.asks -= 1;
      if (node.isGone || taking.has.isWhole) return;
      if (this.#originLine.freeAt > this.#now + MESSAGE_MS) return this.#askOrigin(node, layer, mood);
      const isSpread = this.#isSpread(layer);
      const lacking = taking.has.lacking;
      const wanted = new PieceSet(lacking.count);
      for (let index = 0; index < lacking.count; index += 1)
        if (lacking.has(index) && !taking.underway.has(index)) wanted.add(index);
      const origin = this.#origins[layer] as Origin;
      const index = origin.give(String(node.id), wanted, { isSpread, isUrgent: mood === 'urgent' }, this.#random);
      if (index === undefined) {
        taking.restingAt = this.#now;
        return;
      }
      this.#given += 1;
      node.down.send(this.#now);
      taking.asks += 1;
      this.#after(this.#originLine.send(this.#now) - this.#now + MESSAGE_MS, () => {
        taking.asks -= 1;
        this.#gain(node, layer, index);
        if (!node.isGone && !taking.has.isWhole) this.#askOrigin(node, layer, mood);
      });
    });
  }

  #isSpread(layer: number): boolean {
    const takings = this.#nodes.flatMap((each) => (each.isGone ? [] : (each.takings.get(layer) ?? [])));
    const whole = takings.filter(({ has }) => has.isWhole).length;
    return whole > 0 && whole * TAKERS_EACH >= takings.length - whole;
  }

  #gain(node: Node, layer: number, index: number): void {
    const taking = node.takings.get(layer) as Taking;
    if (node.isGone) return;
    taking.has.add(index);
    if (taking.has.isWhole) {
      this.#origins[layer]?.left(String(node.id));
      this.#begin(node);
      if (node.takings.size === this.#plan.layers && [...node.takings.values()].every(({ has }) => has.isWhole))
        node.doneAt ??= this.#now;
    }
    for (const other of [node, ...this.#nodes.filter((each) => each.takings.get(layer)?.links.has(node.id) === true)])
      this.#after(MESSAGE_MS, () => this.#ask(other, layer));
  }

  #leave(node: Node): void {
    node.isGone = true;
    for (const origin of this.#origins) origin.left(String(node.id));
  }
}
