/** Nine bugs as they might be made, each planted into the real reconcilers by a wrapper: the invariants must find them. */
import type { Epoch } from '../../common/model/node.ts';
import { NO_RESTARTS } from '../../common/model/task.ts';
import type { Plan, Reconciler } from '../../manager/reconcile.ts';
import { reconcilersOf } from '../../manager/reconcilers.ts';
import type { Kind, Kinds, Stored, Unit, View, Write } from '../../manager/store/store.ts';
import type { SimOptions } from './cluster.ts';

export interface PlantedBug {
  readonly name: string;
  /** The invariant that it breaks, as a violation's message begins. */
  readonly breaks: RegExp;
  readonly options: Pick<SimOptions, 'brain' | 'commit'>;
}

export const PLANTED: readonly PlantedBug[] = [
  {
    name: 'the restart supervisor ignores max attempts',
    breaks: /I20:/,
    options: wrapped({
      replicated: (inner) => ({
        ...inner,
        decide: (view, key, tick) => written(inner.decide(view, key, tick), (write) => forgetful(write)),
      }),
    }),
  },
  {
    name: 'the updater ignores the monitor',
    breaks: /T1:/,
    options: wrapped({
      update: (inner) =>
        seeing(inner, (view) =>
          altered(view, 'service', (service) => {
            const { spec } = service;
            const update = { ...spec.update, monitorMs: 0 };
            return { ...service, spec: { ...spec, update, rollback: { ...spec.rollback, monitorMs: 0 } } };
          }),
        ),
    }),
  },
  {
    name: 'start-first stops the old task before the new one is ready',
    breaks: /I6:/,
    options: wrapped({
      replicated: (inner) =>
        seeing(inner, (view) =>
          altered(view, 'task-status', (status) =>
            status.state === 'starting' ? { ...status, state: 'running', healthy: true } : status,
          ),
        ),
    }),
  },
  {
    name: 'stop-first stops the old task before the new one is prepared',
    breaks: /I25:/,
    options: wrapped({
      replicated: (inner) =>
        seeing(inner, (view) =>
          altered(view, 'task-status', (status) =>
            status.state === 'preparing' ? { ...status, state: 'ready' } : status,
          ),
        ),
    }),
  },
  {
    name: 'a drained node is emptied before its tasks have successors',
    breaks: /I6:.*to move it/,
    options: wrapped({
      replicated: (inner) =>
        seeing(inner, (view) => altered(view, 'task-status', (status) => ({ ...status, healthy: false }))),
    }),
  },
  {
    name: 'the scheduler ignores reservations',
    breaks: /I21:.*oversold/,
    options: wrapped({
      schedule: (inner) =>
        seeing(inner, (view) =>
          altered(view, 'revision', (revision) => ({
            ...revision,
            template: { ...revision.template, reservations: { nanoCpus: 0, memoryBytes: 0 } },
          })),
        ),
    }),
  },
  {
    name: 'a held task is released without waiting for the one it replaces',
    breaks: /I5:/,
    options: wrapped({
      replicated: (inner) => ({
        ...inner,
        decide: (view, key, tick) => written(inner.decide(view, key, tick), (write) => hasty(write)),
      }),
      update: (inner) => ({
        ...inner,
        decide: (view, key, tick) => written(inner.decide(view, key, tick), (write) => hasty(write)),
      }),
    }),
  },
  {
    name: 'tasks are moved as soon as their node is suspect',
    breaks: /I23:/,
    options: wrapped({
      replicated: (inner) =>
        seeing(inner, (view) =>
          altered(view, 'node-status', (status) =>
            status.state === 'suspect' ? { ...status, state: 'unreachable', silentSince: 0 } : status,
          ),
        ),
    }),
  },
  {
    name: 'the leader leaves the fence out of its commits',
    breaks: /fence:/,
    options: {
      // The dispatcher's words are fenced as ever; only the reconcilers' commits are not.
      commit: (_reign, units, etcd) => etcd.commit(units),
    },
  },
];

type Wrappers = Readonly<Record<string, (inner: Reconciler) => Reconciler>>;

function wrapped(wrappers: Wrappers): Pick<SimOptions, 'brain'> {
  return {
    brain: (epoch: Epoch) =>
      reconcilersOf(epoch).map((reconciler) => wrappers[reconciler.name]?.(reconciler) ?? reconciler),
  };
}

/** The reconciler as it decides on a view that is not quite the truth. */
function seeing(inner: Reconciler, lens: (view: View) => View): Reconciler {
  return { ...inner, decide: (view, key, tick) => inner.decide(lens(view), key, tick) };
}

function altered<K extends Kind>(view: View, kind: K, alter: (value: Kinds[K]) => Kinds[K]): View {
  const change = <T extends Kind>(asked: T, stored: Stored<Kinds[T]>): Stored<Kinds[T]> => {
    if ((asked as Kind) !== kind) return stored;
    return { ...stored, value: alter(stored.value as unknown as Kinds[K]) as unknown as Kinds[T] };
  };
  return {
    revision: view.revision,
    get: (asked, id) => {
      const stored = view.get(asked, id);
      return stored === undefined ? undefined : change(asked, stored);
    },
    all: (asked) => [...view.all(asked)].map((stored) => change(asked, stored)),
    tasksOf: (service) => view.tasksOf(service),
    tasksOn: (node) => view.tasksOn(node),
  };
}

function written(plan: Plan, alter: (write: Write) => Write): Plan {
  return { ...plan, units: plan.units.map((unit): Unit => unit.map(alter)) };
}

function forgetful(write: Write): Write {
  if (write.kind !== 'task' || write.op !== 'put' || write.value.origin !== 'restart') return write;
  return { ...write, value: { ...write.value, restarts: NO_RESTARTS } };
}

function hasty(write: Write): Write {
  if (write.kind !== 'task' || write.op !== 'put' || write.value.desired !== 'ready') return write;
  return write.value.notBefore === undefined ? { ...write, value: { ...write.value, desired: 'running' } } : write;
}
