/** A whole pretend cluster: managers that come and go, hosts, users, and the observer that knows the invariants. */
import type { Cluster } from '../../common/model/cluster.ts';
import type { ManagerId, NodeId } from '../../common/model/ids.ts';
import { reconcilersOf } from '../../manager/reconcilers.ts';
import { aCluster, aDescription, GIB } from '../support/fixtures.ts';
import { Dispatcher } from './dispatcher.ts';
import { Host, type Switchboard } from './host.ts';
import { type Brain, type Committer, Manager } from './manager.ts';
import { Observer } from './observer.ts';
import { Users } from './users.ts';
import { World } from './world.ts';

export interface SimOptions {
  readonly seed: number;
  readonly tells?: boolean;
  readonly brain?: Brain;
  readonly commit?: Committer;
  readonly cluster?: Partial<Cluster>;
}

export class SimCluster implements Switchboard {
  readonly world: World;
  readonly users: Users;
  readonly hosts = new Map<NodeId, Host>();
  readonly observer: Observer;
  dispatcher: Dispatcher | undefined;
  manager: Manager | undefined;
  readonly #options: SimOptions;
  #managers = 0;
  #joined = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    this.world = new World(options.seed, options.tells ?? false);
    this.users = new Users(this.world);
    this.observer = new Observer(this.world);
    this.world.etcd.commit([
      [{ op: 'put', kind: 'cluster', id: 'default', value: aCluster(options.cluster ?? {}), ifRev: 0 }],
    ]);
    this.world.etcd.onCommit((committed) => {
      this.observer.observe(committed);
      this.manager?.observe(committed.batch);
      this.dispatcher?.observe(committed.batch);
    });
  }

  /** How many managers have led so far. */
  get leaders(): number {
    return this.#managers;
  }

  /** A new host joins; its hostname is its id. */
  join(labels: Readonly<Record<string, string>> = {}): NodeId {
    const id = `n${++this.#joined}`;
    const nodeId = this.users.join(id, { labels });
    const description = aDescription(id, { memoryBytes: 8 * GIB });
    this.hosts.set(nodeId, new Host(this.world, this, nodeId, description));
    return nodeId;
  }

  /** A manager takes the lead, from whoever has it. */
  lead(): Manager {
    const { world } = this;
    this.manager?.kill();
    const managerId = `m${++this.#managers}` as ManagerId;
    const reign = world.etcd.enthrone({ managerId, address: 'm:1' }, world.now);
    world.tell(() => `${managerId} leads, reign ${reign.epoch.reign}`);
    const commit: Committer = this.#options.commit ?? ((held, units) => held.commitNow(units));
    this.manager = new Manager(world, reign, this.#options.brain ?? reconcilersOf, commit);
    this.dispatcher = new Dispatcher(world, this.manager);
    for (const host of this.hosts.values()) host.hangUp();
    return this.manager;
  }

  /** The leader's process ends, or loses its lease without knowing; another one follows after a while. */
  deposeLeader(isTold: boolean): void {
    if (this.manager === undefined || this.world.etcd.reigning !== this.manager.reign) return;
    this.world.tell(() => `the leader is deposed${isTold ? '' : ' and does not know it'}`);
    if (isTold) this.manager.kill();
    this.world.etcd.usurp();
    this.#succeed();
  }

  /** It ends after so many units more, in the middle of a plan if that is where it is. */
  killLeaderAfter(units: number): void {
    this.manager?.dieAfter(units, () => {
      this.world.tell(() => 'the leader dies');
      this.world.etcd.usurp();
      this.#succeed();
    });
  }

  #succeed(): void {
    const deposed = this.manager;
    this.world.after(300, 3_500, () => {
      if (this.world.etcdSilentMs > 0) return this.#succeed();
      if (this.manager === deposed) this.lead();
    });
  }
}
