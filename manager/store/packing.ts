/**
 * Packs units into transactions. In come units and their sizes, out comes which units travel together and in what order.
 * It knows etcd's limits but not etcd.
 *
 * Compares of one transaction are ANDed, so each unit becomes a transaction of its own inside an outer one (ADR 0002).
 * etcd evaluates all compares, the nested ones too, before it writes anything, and refuses a key that is written twice:
 * units that touch one key, at least one of them writing it, therefore go into successive stages.
 */
import { strict as assert } from 'node:assert';
import { UNIT_WRITES_MAX, type Unit, type Write } from './store.ts';

/**
 * Nested transactions in one outer one. etcd's default of 128 operations is counted as (outer operations) + (operations or
 * compares of the largest inner one): 95 + the mark (etcd.ts) + 32. Source: etcd server/etcdserver/api/v3rpc/key.go, checkTxnRequest.
 */
export const UNITS_MAX = 95;
/** etcd refuses requests above 1.5 MiB; what is left is for keys' framing and compares. Source: `--max-request-bytes`. */
export const TRANSACTION_BYTES_MAX = 1_400_000;

/** Indexes into the list of units, in order. */
export type Packed = readonly number[];

/** Transactions of one stage may run side by side; a stage begins when the one before has been answered. */
export type Stage = readonly Packed[];

/** True for a write that changes its key. */
export function writes(write: Write): boolean {
  return write.op !== 'check';
}

/** Name of a key for comparing. Kinds hold no slash, so this is unique. */
export function keyOf(write: { readonly kind: string; readonly id: string }): string {
  return `${write.kind}/${write.id}`;
}

/** Fails for a unit that no transaction can hold: a bug of who planned it. */
export function assertUnit(unit: Unit): void {
  assert(unit.length <= UNIT_WRITES_MAX, `a unit of ${unit.length} writes was planned; ${UNIT_WRITES_MAX} fit`);
  const written = unit.filter(writes).map(keyOf);
  assert(new Set(written).size === written.length, `a unit writes one key twice: ${written.join(', ')}`);
}

/**
 * Units keep their order within a transaction; a unit that would see another one's key goes into a later stage.
 * @param bytesOf  size of a unit on the wire
 */
export function pack(units: readonly Unit[], bytesOf: (unit: Unit, index: number) => number): readonly Stage[] {
  const stages: OpenStage[] = [];
  const order = new KeyOrder();
  for (const [index, unit] of units.entries()) {
    assertUnit(unit);
    const at = order.place(unit);
    const stage = stages[at] ?? new OpenStage();
    stages[at] = stage;
    stage.add(index, bytesOf(unit, index));
  }
  return stages.map((stage) => stage.transactions);
}

/** Remembers for every key the last stage that read and that wrote it. */
class KeyOrder {
  readonly #read = new Map<string, number>();
  readonly #written = new Map<string, number>();

  place(unit: Unit): number {
    let stage = 0;
    for (const write of unit) {
      const key = keyOf(write);
      stage = Math.max(stage, (this.#written.get(key) ?? -1) + 1);
      if (writes(write)) stage = Math.max(stage, (this.#read.get(key) ?? -1) + 1);
    }
    for (const write of unit) {
      const last = writes(write) ? this.#written : this.#read;
      // A later unit without written keys can be placed in an earlier stage than one before it.
      last.set(keyOf(write), Math.max(stage, last.get(keyOf(write)) ?? 0));
    }
    return stage;
  }
}

class OpenStage {
  readonly transactions: number[][] = [];
  #bytes = 0;

  add(index: number, bytes: number): void {
    const last = this.transactions.at(-1);
    const fits = last !== undefined && last.length < UNITS_MAX && this.#bytes + bytes <= TRANSACTION_BYTES_MAX;
    if (fits) {
      last.push(index);
      this.#bytes += bytes;
    } else {
      this.transactions.push([index]);
      this.#bytes = bytes;
    }
  }
}
