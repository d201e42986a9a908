/** What users do to the cluster, as Control would write it: unfenced, with the version they read. */
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { Node } from '../../common/model/node.ts';
import { revisionKey, type Service, type ServiceRevision, type ServiceSpec } from '../../common/model/service.ts';
import { changed } from '../../manager/control/services.ts';
import { put, remove, type Unit } from '../../manager/store/store.ts';
import { rolledBack } from '../../manager/updater/rollback.ts';
import { aNode, aRevision, aService } from '../support/fixtures.ts';
import type { World } from './world.ts';

export class Users {
  readonly #world: World;
  #services = 0;

  constructor(world: World) {
    this.#world = world;
  }

  join(id: string, node: Partial<Node> = {}): NodeId {
    this.#do(`node ${id} joins`, [put('node', id, aNode(id, { createdAt: this.#world.now, ...node }), 0)]);
    return id as NodeId;
  }

  create(spec: ServiceSpec): ServiceId {
    const id = `s${++this.#services}` as ServiceId;
    const { now } = this.#world;
    const service = aService(id, spec, { createdAt: now, updatedAt: now });
    this.#do(`create ${describe(spec)}`, [
      put('service', id, service, 0),
      put('revision', revisionKey(id, 1), aRevision(service), 0),
    ]);
    return id;
  }

  /** False when the service is gone, or somebody else was first. */
  update(id: ServiceId, edit: (spec: ServiceSpec) => ServiceSpec, rev?: number): boolean {
    const stored = this.#world.view.get('service', id);
    if (stored === undefined) return false;
    const after = changed(stored.value, edit(stored.value.spec), this.#world.now);
    const unit: Unit = [put('service', id, after, rev ?? stored.rev)];
    const isNew = after.revision !== stored.value.revision;
    const contents = isNew ? [put('revision', revisionKey(id, after.revision), revisionOf(after), 0)] : [];
    return this.#do(`update ${id} to revision ${after.revision}: ${describe(after.spec)}`, [...unit, ...contents]);
  }

  rollback(id: ServiceId): boolean {
    const stored = this.#world.view.get('service', id);
    const after = stored === undefined ? undefined : rolledBack(stored.value, this.#world.now);
    if (stored === undefined || after === undefined) return false;
    const key = revisionKey(id, after.revision);
    const contents =
      this.#world.view.get('revision', key) === undefined ? [put('revision', key, revisionOf(after), 0)] : [];
    return this.#do(`roll ${id} back to revision ${after.revision}`, [
      put('service', id, after, stored.rev),
      ...contents,
    ]);
  }

  remove(id: ServiceId): boolean {
    const stored = this.#world.view.get('service', id);
    return stored !== undefined && this.#do(`remove ${id}`, [remove('service', id, stored.rev)]);
  }

  edit(id: NodeId, change: Partial<Node>): boolean {
    const stored = this.#world.view.get('node', id);
    if (stored === undefined) return false;
    const text = JSON.stringify(change);
    return this.#do(`node ${id}: ${text}`, [put('node', id, { ...stored.value, ...change }, stored.rev)]);
  }

  removeNode(id: NodeId): boolean {
    const stored = this.#world.view.get('node', id);
    return stored !== undefined && this.#do(`remove node ${id}`, [remove('node', id, stored.rev)]);
  }

  #do(what: string, unit: Unit): boolean {
    if (this.#world.etcdSilentMs > 0) return false;
    this.#world.tell(() => `user: ${what}`);
    return this.#world.etcd.commit([unit])[0]?.kind === 'done';
  }
}

function revisionOf(service: Service): ServiceRevision {
  return aRevision(service);
}

function describe(spec: ServiceSpec): string {
  const { update, template, mode } = spec;
  const policy = `${update.order} p=${update.parallelism} ${update.failureAction} ratio ${update.maxFailureRatio}`;
  return `${spec.name} ${mode.replicas} x ${template.container.image} (${policy}; restart ${template.restart.condition} ${template.restart.maxAttempts})`;
}
