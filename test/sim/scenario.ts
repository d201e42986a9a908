/**
 * Plays a scripted scenario: one command a line, `show` writes down services, tasks and nodes as they stand then.
 * The transcript is the script with what was shown below each `show`; it is the golden file beside the script.
 */

import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import { stateOf } from '../../common/model/task.ts';
import { aSpec, aTemplate, CONTAINER } from '../support/fixtures.ts';
import { SimCluster } from './cluster.ts';
import type { Host } from './host.ts';

/** Plays the script with the seed 1; returns the transcript. */
export function play(script: string): string {
  const scenario = new Scenario();
  const lines: string[] = [];
  for (const line of script.split('\n')) {
    lines.push(line);
    if (line === '' || line.startsWith('#')) continue;
    lines.push(...scenario.run(line));
  }
  return lines.join('\n');
}

class Scenario {
  readonly #cluster = new SimCluster({ seed: 1 });
  readonly #services = new Map<string, ServiceId>();
  readonly #names = new Map<string, string>();

  run(line: string): readonly string[] {
    const [verb = '', ...args] = line.split(' ');
    if (verb === 'show') return this.#show();
    if (!this.#lead(verb, args) && !this.#users(verb, args) && !this.#trouble(verb, args)) {
      throw new Error(`unknown command "${line}"`);
    }
    return [];
  }

  #lead(verb: string, [first = '']: readonly string[]): boolean {
    const { timeline } = this.#cluster.world;
    switch (verb) {
      case 'hosts':
        this.#cluster.lead();
        for (let i = 0; i < Number(first); i++) this.#cluster.join();
        timeline.runUntil(timeline.now + 5_000);
        return true;
      case 'wait':
        timeline.runUntil(timeline.now + Number(first) * 1_000);
        return true;
      case 'depose':
        this.#cluster.deposeLeader(true);
        return true;
    }
    return false;
  }

  #users(verb: string, args: readonly string[]): boolean {
    const { users } = this.#cluster;
    const [name = '', second = '', third = '', action = 'pause'] = args;
    switch (verb) {
      case 'create': {
        const spec = aSpec(name, {
          mode: { kind: 'replicated', replicas: Number(second) },
          template: templateOf(third),
        });
        const failureAction = action === 'rollback' ? 'rollback' : 'pause';
        this.#services.set(name, users.create({ ...spec, update: { ...spec.update, failureAction } }));
        return true;
      }
      case 'update':
        return users.update(this.#service(name), (spec) => ({ ...spec, template: templateOf(second) }));
      case 'scale':
        return users.update(this.#service(name), (spec) => ({
          ...spec,
          mode: { kind: 'replicated', replicas: Number(second) },
        }));
      case 'rollback':
        return users.rollback(this.#service(name));
      case 'remove':
        return users.remove(this.#service(name));
      case 'drain':
        return users.edit(name as NodeId, { availability: 'drain' });
      case 'activate':
        return users.edit(name as NodeId, { availability: 'active' });
    }
    return false;
  }

  #trouble(verb: string, [id = '']: readonly string[]): boolean {
    const deeds: Readonly<Record<string, (host: Host) => void>> = {
      'power-off': (host) => host.powerOff(),
      'power-on': (host) => host.powerOn(),
      cut: (host) => host.cutLink(),
      heal: (host) => host.healLink(),
      'crash-agent': (host) => host.crashAgent(),
      'start-agent': (host) => host.startAgent(),
    };
    const deed = deeds[verb];
    const host = this.#cluster.hosts.get(id as NodeId);
    if (deed === undefined || host === undefined) return false;
    deed(host);
    return true;
  }

  #service(name: string): ServiceId {
    const id = this.#services.get(name);
    if (id === undefined) throw new Error(`no service "${name}" in the script`);
    return id;
  }

  /** Tasks are named `service.slot`, with a letter that counts them: the first of a slot is `a`. */
  #show(): readonly string[] {
    const { view } = this.#cluster.world;
    const lines = [...view.all('node')].map(
      ({ value }) => `node ${value.id} ${view.get('node-status', value.id)?.value.state} ${value.availability}`,
    );
    for (const [name, id] of this.#services) {
      const rollout = view.get('rollout', id)?.value;
      const message = rollout?.message.replaceAll(/\.(\d+)\.t\d+/g, '.$1.ID') ?? '';
      lines.push(`service ${name} ${rollout === undefined ? 'never updated' : `${rollout.state}: ${message}`}`);
      const tasks = [...view.tasksOf(id)].map(({ value }) => value);
      for (const task of tasks.sort((a, b) => a.slot - b.slot || order(a.id, b.id))) {
        const state = stateOf(task, view.get('task-status', task.id)?.value, false);
        const because = task.because ?? task.pending;
        const why = because === undefined ? '' : ` (${because})`;
        const place = task.nodeId ?? 'nowhere';
        lines.push(
          `task ${this.#named(name, task.slot, task.id)} r${task.revision} ${task.desired}/${state} on ${place}${why}`,
        );
      }
    }
    return lines.map((line) => `    ${line}`);
  }

  #named(service: string, slot: number, id: string): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const before = [...this.#names.values()].filter((name) => name.startsWith(`${service}.${slot}`)).length;
    const name = `${service}.${slot}${String.fromCharCode(97 + before)}`;
    this.#names.set(id, name);
    return name;
  }
}

function templateOf(image: string): ReturnType<typeof aTemplate> {
  return aTemplate({ container: { ...CONTAINER, image } });
}

function order(a: string, b: string): number {
  return Number(a.slice(1)) - Number(b.slice(1));
}
