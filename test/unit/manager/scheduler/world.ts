/** A cluster small enough to say in a test, and the scheduler's plan as text. */
import type { Node, NodeStatus } from '../../../../common/model/node.ts';
import { revisionKey, type ServiceSpec, type TaskTemplate } from '../../../../common/model/service.ts';
import type { ReportedState, Task, TaskStatus } from '../../../../common/model/task.ts';
import type { Plan } from '../../../../manager/reconcile.ts';
import { schedule } from '../../../../manager/scheduler/schedule.ts';
import type { Kind, Kinds, View } from '../../../../manager/store/store.ts';
import {
  aCluster,
  aDescription,
  aNode,
  aNodeStatus,
  aRevision,
  aService,
  aSpec,
  aTaskStatus,
  aTemplate,
} from '../../../support/fixtures.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { aTask } from '../../../support/objects.ts';

export interface NodeSays {
  readonly node?: Partial<Node>;
  readonly status?: Partial<NodeStatus>;
  readonly description?: Parameters<typeof aDescription>[1];
}

export class World {
  readonly store = new MemoryStore();
  #blocks = 0;

  constructor() {
    this.store.put('cluster', 'default', aCluster());
  }

  get view(): View {
    return this.store.view;
  }

  /** What must be there. */
  got<K extends Kind>(kind: K, id: string): Kinds[K] {
    const stored = this.view.get(kind, id);
    if (stored === undefined) throw new Error(`no ${kind} ${id} in this test`);
    return stored.value;
  }

  /** Ready, active, with a block of its own: 10.64.N.0/24, N counting from 0. */
  node(id: string, says: NodeSays = {}): this {
    this.store.put('node', id, aNode(id, { block: `10.64.${this.#blocks++}.0/24`, ...says.node }));
    const description = aDescription(id, says.description);
    this.store.put('node-status', id, aNodeStatus(id, { description, ...says.status }));
    return this;
  }

  nodes(...ids: readonly string[]): this {
    for (const id of ids) this.node(id);
    return this;
  }

  service(id: string, template: Partial<TaskTemplate> = {}, spec: Partial<ServiceSpec> = {}): this {
    const service = aService(id, aSpec(id, { template: aTemplate(template), ...spec }));
    this.store.put('service', id, service);
    this.store.put('revision', revisionKey(service.id, 1), aRevision(service));
    return this;
  }

  /** A task named `service.slot`, or with more letters behind for a second one in the slot. */
  task(name: string, change: Partial<Task> = {}): this {
    const [service = '', slot = ''] = name.split('.');
    this.store.put('task', name, aTask(name, service, { slot: Number.parseInt(slot, 10), ...change }));
    return this;
  }

  tasks(service: string, count: number): this {
    for (let slot = 1; slot <= count; slot++) this.task(`${service}.${slot}`);
    return this;
  }

  /** A task that has a node already, and has reported. */
  on(nodeId: string, name: string, state: ReportedState = 'running', change: Partial<Task & TaskStatus> = {}): this {
    this.task(name, { nodeId: nodeId as never, ...change });
    const task = this.view.get('task', name)?.value as Task;
    this.store.put('task-status', name, aTaskStatus(task, state, change));
    return this;
  }

  plan(now = 0): Plan {
    return schedule.decide(this.view, 'cluster', { now, newTaskId: () => 'new' as never });
  }

  /** The plan as text, and done. */
  run(now = 0): readonly string[] {
    const plan = this.plan(now);
    const text = render(plan);
    this.store.commitNow(plan.units);
    return text;
  }
}

/** `web.1 -> n1 10.64.0.2`, `web.2 pending: no suitable node (…)`, `again now`. */
export function render(plan: Plan): readonly string[] {
  const lines = plan.units.map((unit) => {
    const [write] = unit;
    if (write?.kind !== 'task' || write.op !== 'put') return 'something else';
    const { id, nodeId, address, pending } = write.value;
    return nodeId === undefined ? `${id} pending: ${pending}` : `${id} -> ${nodeId} ${address}`;
  });
  return plan.wakeAt === undefined ? lines : [...lines, `wake at ${plan.wakeAt}`];
}

/** How many bindings of the text went to each node. */
export function perNode(lines: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const line of lines) {
    const node = / -> (\S+)/.exec(line)?.[1];
    if (node !== undefined) counts[node] = (counts[node] ?? 0) + 1;
  }
  return counts;
}
