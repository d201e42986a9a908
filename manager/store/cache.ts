/**
 * The in-memory view of the store: every object, with tasks also by service and by node.
 * In go whole revisions, in order; out come the changes they made. It must never show half a revision, and it never asks
 * anybody anything.
 */
import { strict as assert } from 'node:assert';
import type { NodeId, Revision, ServiceId } from '../../common/model/ids.ts';
import type { Task } from '../../common/model/task.ts';
import type { Batch, Change, Kind, Kinds, Stored, View } from './store.ts';

/** One key as it is from a revision on; `stored` absent = deleted. */
export type Entry = { readonly [K in Kind]: EntryOf<K> }[Kind];

export interface EntryOf<K extends Kind> {
  readonly kind: K;
  readonly id: string;
  readonly stored: Stored<Kinds[K]> | undefined;
}

/** Every kind, so that a table exists before its first object. A kind missing here does not compile. */
const KINDS: Readonly<Record<Kind, true>> = {
  cluster: true,
  manager: true,
  leader: true,
  service: true,
  revision: true,
  rollout: true,
  task: true,
  'task-status': true,
  node: true,
  'node-status': true,
  image: true,
  login: true,
  name: true,
  container: true,
};

/** All kinds, in the order in which they are read at the start. */
export const ALL_KINDS: readonly Kind[] = Object.keys(KINDS) as Kind[];

type Table = Map<string, Stored<Kinds[Kind]>>;
type TaskIndex<Id> = Map<Id, Map<string, Stored<Task>>>;

const NO_TASKS: readonly Stored<Task>[] = [];

export class Cache implements View {
  #revision: Revision = 0;
  readonly #tables: ReadonlyMap<Kind, Table> = new Map(ALL_KINDS.map((kind) => [kind, new Map()]));
  readonly #byService: TaskIndex<ServiceId> = new Map();
  readonly #byNode: TaskIndex<NodeId> = new Map();

  get revision(): Revision {
    return this.#revision;
  }

  get<K extends Kind>(kind: K, id: string): Stored<Kinds[K]> | undefined {
    return this.#table(kind).get(id) as Stored<Kinds[K]> | undefined;
  }

  all<K extends Kind>(kind: K): Iterable<Stored<Kinds[K]>> {
    return this.#table(kind).values() as Iterable<Stored<Kinds[K]>>;
  }

  tasksOf(service: ServiceId): Iterable<Stored<Task>> {
    return this.#byService.get(service)?.values() ?? NO_TASKS;
  }

  tasksOn(node: NodeId): Iterable<Stored<Task>> {
    return this.#byNode.get(node)?.values() ?? NO_TASKS;
  }

  /**
   * Moves the view on to `revision`.
   * @param entries  every key changed by the revisions after the view's own up to `revision`, oldest first
   */
  apply(revision: Revision, entries: Iterable<Entry>): Batch {
    assert(revision >= this.#revision, `view at ${this.#revision} was given the older revision ${revision}`);
    const changes: Change[] = [];
    for (const entry of entries) changes.push(this.#set(entry));
    this.#revision = revision;
    return { revision, changes };
  }

  /**
   * Makes the view equal to a complete reading at `revision`, also of a store that was restored and counts from lower
   * down. Objects that have not changed keep their identity; the batch is the difference.
   */
  replace(revision: Revision, entries: Iterable<Entry>): Batch {
    const seen = new Map<Kind, Set<string>>(ALL_KINDS.map((kind) => [kind, new Set()]));
    const changes: Change[] = [];
    for (const entry of entries) {
      seen.get(entry.kind)?.add(entry.id);
      const before = this.get(entry.kind, entry.id);
      if (before === undefined || before.rev !== entry.stored?.rev) changes.push(this.#set(entry));
    }
    for (const kind of ALL_KINDS) {
      for (const id of [...this.#table(kind).keys()]) {
        if (!seen.get(kind)?.has(id)) changes.push(this.#set({ kind, id, stored: undefined } as Entry));
      }
    }
    this.#revision = revision;
    return { revision, changes };
  }

  #table(kind: Kind): Table {
    const table = this.#tables.get(kind);
    assert(table !== undefined, `kind ${kind} has no table`);
    return table;
  }

  #set(entry: Entry): Change {
    const table = this.#table(entry.kind);
    const before = table.get(entry.id);
    if (entry.stored === undefined) table.delete(entry.id);
    else table.set(entry.id, entry.stored);
    if (entry.kind === 'task') this.#index(entry.id, before as Stored<Task> | undefined, entry.stored);
    return { kind: entry.kind, id: entry.id, before: before?.value, after: entry.stored?.value } as Change;
  }

  #index(id: string, before: Stored<Task> | undefined, after: Stored<Task> | undefined): void {
    move(this.#byService, { id, from: before?.value.serviceId, to: after?.value.serviceId, task: after });
    move(this.#byNode, { id, from: before?.value.nodeId, to: after?.value.nodeId, task: after });
  }
}

interface Move<Id> {
  readonly id: string;
  readonly from: Id | undefined;
  readonly to: Id | undefined;
  readonly task: Stored<Task> | undefined;
}

/** Takes a task from one group of an index to another; empty groups go, so that an index never outgrows its tasks. */
function move<Id>(index: TaskIndex<Id>, { id, from, to, task }: Move<Id>): void {
  if (from !== undefined && from !== to) {
    const group = index.get(from);
    group?.delete(id);
    if (group?.size === 0) index.delete(from);
  }
  if (to === undefined || task === undefined) return;
  const group = index.get(to);
  if (group === undefined) index.set(to, new Map([[id, task]]));
  else group.set(id, task);
}
