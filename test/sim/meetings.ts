/** Which faults met which states: what a run's variety amounts to. */
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import { stateOf } from '../../common/model/task.ts';
import type { SimCluster } from './cluster.ts';
import type { Fault } from './faults.ts';

export class Meetings {
  readonly #counts = new Map<string, Map<string, number>>();

  /** Counts the states of what the fault met; of the whole cluster when it met nothing in particular. */
  note(cluster: SimCluster, fault: Fault, met: { readonly node?: NodeId; readonly service?: ServiceId }): void {
    const { view } = cluster.world;
    const states = new Set<string>();
    const services = met.service === undefined ? [...view.all('service')].map(({ value }) => value.id) : [met.service];
    for (const id of services) states.add(`rollout ${view.get('rollout', id)?.value.state ?? 'none'}`);
    const nodes = met.node === undefined ? [...view.all('node')].map(({ value }) => value.id) : [met.node];
    for (const id of nodes) states.add(`node ${view.get('node-status', id)?.value.state ?? 'unknown'}`);
    const tasks = met.node !== undefined ? view.tasksOn(met.node) : services.flatMap((id) => [...view.tasksOf(id)]);
    for (const { value: task } of tasks) {
      states.add(`task ${stateOf(task, view.get('task-status', task.id)?.value, false)}`);
    }
    const row = this.#counts.get(fault) ?? new Map<string, number>();
    this.#counts.set(fault, row);
    for (const state of states) row.set(state, (row.get(state) ?? 0) + 1);
  }

  /** One line a fault, one column a state. */
  table(): string {
    const columns = [...new Set([...this.#counts.values()].flatMap((row) => [...row.keys()]))].sort();
    const legend = columns.map((column, index) => `${index + 1} = ${column}`).join(', ');
    const head = `${'fault met'.padEnd(30)}${columns.map((_, index) => String(index + 1).padStart(7)).join('')}`;
    const lines = [...this.#counts].sort().map(([fault, row]) => {
      const cells = columns.map((column) => String(row.get(column) ?? '.').padStart(7));
      return `${fault.padEnd(30)}${cells.join('')}`;
    });
    return [head, ...lines, legend].join('\n');
  }
}
