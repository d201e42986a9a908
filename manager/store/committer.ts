/**
 * Commits units: what is asked for within one turn of the event loop, or while etcd is busy, travels together.
 * In come units with the reign they are for, out come their results; nothing is ever sent twice.
 */
import { ClusterError, toClusterError } from '../../common/errors.ts';
import { type PromiseWithResolvers, untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Epoch } from '../../common/model/node.ts';
import { encode } from './codec.ts';
import type { Etcd, EtcdCompare, EtcdOp, EtcdUnit } from './etcd.ts';
import type { Keys } from './keys.ts';
import { assertUnit, type Packed, pack } from './packing.ts';
import type { CommitResult, Unit, Write } from './store.ts';

/** Batches on their way at once; the next one is made of what has come together meanwhile. */
const BATCHES_MAX = 2;
/** Transactions of one batch on their way at once. More than 8 in all brought nothing when measured. */
const TRANSACTIONS_MAX = 4;
/** Units of one batch, some 20 ms of encoding; more wait, so that a large commit holds up neither the small nor the lease. */
const BATCH_UNITS_MAX = 2_000;
/** Framing of a key and its compare on the wire, above its own bytes. */
const FRAMING_BYTES = 64;

/** Only what is committed under one fence can share a transaction. */
interface Order {
  readonly unit: Unit;
  readonly fence: Epoch | undefined;
  readonly result: PromiseWithResolvers<CommitResult>;
  readonly signal: AbortSignal;
}

/** An order ready to be sent. */
interface Parcel {
  readonly order: Order;
  readonly content: EtcdUnit;
  readonly bytes: number;
}

export class Committer {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  /** Aborted when the store is closed. */
  readonly #signal: AbortSignal;
  #waiting: Order[] = [];
  #batches = 0;
  #isDue = false;

  constructor(etcd: Etcd, keys: Keys, signal: AbortSignal) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#signal = signal;
  }

  /** Results in the order of `units`. @throws ClusterError `unavailable`, `exhausted` as in `Store.commit` */
  async commit(
    units: readonly Unit[],
    fence: Epoch | undefined,
    signal: AbortSignal,
  ): Promise<readonly CommitResult[]> {
    signal.throwIfAborted();
    this.#signal.throwIfAborted();
    const orders = units.map((unit): Order => ({ unit, fence, signal, result: withResolvers<CommitResult>() }));
    if (orders.length === 0) return [];
    for (const order of orders) this.#waiting.push(order);
    this.#schedule();
    return untilAborted(Promise.all(orders.map((order) => order.result.promise)), signal);
  }

  #schedule(): void {
    if (this.#isDue || this.#batches >= BATCHES_MAX || this.#waiting.length === 0) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#send();
    });
  }

  #send(): void {
    const next = this.#waiting.slice(0, BATCH_UNITS_MAX);
    this.#waiting = this.#waiting.slice(next.length);
    const batch = next.filter((order) => !order.signal.aborted);
    this.#batches += 1;
    const done = (): void => {
      this.#batches -= 1;
      this.#schedule();
    };
    this.#sendBatch(batch).then(done, done);
    this.#schedule();
  }

  /** Never rejects: every order is settled. */
  async #sendBatch(batch: readonly Order[]): Promise<void> {
    const fences = new Map<string, Order[]>();
    for (const order of batch) {
      const name = order.fence === undefined ? '' : String(order.fence.reign);
      const group = fences.get(name);
      if (group === undefined) fences.set(name, [order]);
      else group.push(order);
    }
    await Promise.all([...fences.values()].map((group) => this.#sendGroup(group)));
  }

  async #sendGroup(orders: readonly Order[]): Promise<void> {
    const parcels = orders.flatMap((order) => this.#wrap(order) ?? []);
    const units = parcels.map((parcel) => parcel.order.unit);
    try {
      const stages = pack(units, (_unit, index) => parcels[index]?.bytes ?? 0);
      for (const stage of stages) await this.#sendStage(parcels, stage);
    } catch (cause) {
      // What has been answered stays answered; the rest shares the failure instead of waiting for one of its own.
      for (const { order } of parcels) order.result.reject(cause);
    }
  }

  async #sendStage(parcels: readonly Parcel[], stage: readonly Packed[]): Promise<void> {
    const queue = [...stage];
    const send = async (): Promise<void> => {
      for (let packed = queue.shift(); packed !== undefined; packed = queue.shift()) {
        await this.#transact(packed.map((index) => parcels[index] as Parcel));
      }
    };
    await Promise.all(Array.from({ length: Math.min(TRANSACTIONS_MAX, stage.length) }, send));
  }

  async #transact(parcels: readonly Parcel[]): Promise<void> {
    const fence = parcels[0]?.order.fence;
    try {
      const units = parcels.map((parcel) => parcel.content);
      // What only deletes goes through when etcd is full: it is what makes room.
      const mark = units.some((unit) => unit.ops.some((op) => op.op === 'put')) ? this.#keys.mark : undefined;
      const answer = await this.#etcd.txn({ units, mark, fence: fence && this.#compareOf(fence) }, this.#signal);
      const wrote = mark !== undefined || answer.units.some((unit) => unit.wrote);
      for (const [index, { order }] of parcels.entries()) {
        if (!answer.fenceHeld) order.result.resolve({ kind: 'lost' });
        else if (!answer.units[index]?.held) order.result.resolve({ kind: 'conflict' });
        // A transaction that wrote nothing has somebody else's revision, which our view may never reach.
        else order.result.resolve({ kind: 'done', revision: wrote ? answer.revision : newestCompared(order.unit) });
      }
    } catch (cause) {
      const error = explainOutcome(cause);
      for (const { order } of parcels) order.result.reject(error);
      // A request that etcd cannot take says nothing of the others.
      if (error.code !== 'internal') throw error;
    }
  }

  #compareOf(fence: Epoch): EtcdCompare {
    return { key: this.#keys.of('leader', 'default'), target: 'create', revision: fence.reign };
  }

  /** Encodes the unit; one that cannot be is its caller's failure alone. */
  #wrap(order: Order): Parcel | undefined {
    try {
      return this.#parcel(order);
    } catch (cause) {
      order.result.reject(cause);
      return undefined;
    }
  }

  #parcel(order: Order): Parcel {
    assertUnit(order.unit);
    const compares: EtcdCompare[] = [];
    const ops: EtcdOp[] = [];
    let bytes = 0;
    for (const write of order.unit) {
      const key = this.#keys.of(write.kind, write.id);
      if (write.ifRev !== undefined) compares.push({ key, target: 'mod', revision: write.ifRev });
      const op = toOp(write, key);
      if (op !== undefined) ops.push(op);
      bytes += 2 * key.length + FRAMING_BYTES + (op?.op === 'put' ? op.value.length : 0);
    }
    return { order, content: { compares, ops }, bytes };
  }
}

function toOp(write: Write, key: string): EtcdOp | undefined {
  switch (write.op) {
    case 'put':
      return { op: 'put', key, value: encode(write.kind, write.value) };
    case 'delete':
      return { op: 'delete', key };
    case 'check':
      return undefined;
  }
}

function newestCompared(unit: Unit): number {
  return Math.max(0, ...unit.map((write) => write.ifRev ?? 0));
}

function explainOutcome(cause: unknown): ClusterError {
  const error = toClusterError(cause);
  if (error.code !== 'unavailable') return error;
  return new ClusterError('unavailable', `the outcome of a commit is unknown: ${error.message}`, {
    hint: 'look at the object again before repeating the change',
    cause,
  });
}
