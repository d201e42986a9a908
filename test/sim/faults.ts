/** What goes wrong in a random run, and what people do meanwhile: one happening drawn from the seed at a time. */
import type { NodeId, ServiceId } from '../../common/model/ids.ts';
import type { Port, ServiceSpec, UpdatePolicy } from '../../common/model/service.ts';
import { aSpec, aTemplate, CONTAINER, CPU, GIB } from '../support/fixtures.ts';
import type { SimCluster } from './cluster.ts';
import type { Dice } from './dice.ts';
import type { Host } from './host.ts';
import { BAD_IMAGES, GOOD_IMAGES } from './images.ts';

/** How often each thing happens, relative to the others. */
const WEIGHTS = {
  'container dies': 14,
  'agent crashes': 8,
  'host loses power': 4,
  'host is cut off': 8,
  'node flaps': 3,
  'leader dies': 4,
  'leader dies in a plan': 8,
  'leader is deposed unknowingly': 4,
  'store stops': 3,
  'node is drained': 4,
  'node is paused': 3,
  'node is active': 8,
  'labels change': 4,
  'node is removed': 1,
  'self-test fails': 3,
  'node joins': 2,
  'service is created': 3,
  'service is updated': 14,
  'update is bad': 8,
  'service is scaled': 8,
  'service is rolled back': 4,
  'service is removed': 1.5,
  'update is stale': 3,
  'only labels change': 3,
} as const;

export type Fault = keyof typeof WEIGHTS;
const ZONES = ['north', 'south'] as const;
const HOSTS_MAX = 9;
const SERVICES_MAX = 6;

export function drawFault(dice: Dice): Fault {
  return dice.weighted(WEIGHTS);
}

/** Does it; what it met is returned for the table (a node, a service, or neither). */
export function strike(cluster: SimCluster, fault: Fault): { readonly node?: NodeId; readonly service?: ServiceId } {
  const { dice } = cluster.world;
  cluster.world.tell(() => `* ${fault}`);
  const service = dice.pickAny(servicesOf(cluster));
  const host = dice.pickAny([...cluster.hosts.values()].filter((one) => !one.isGone));
  switch (fault) {
    case 'container dies': {
      const container = dice.pickAny([...cluster.world.containers.running()]);
      if (container === undefined) return {};
      cluster.hosts.get(container.nodeId)?.containerDies(container.taskId, 137, false);
      return { node: container.nodeId, service: container.serviceId };
    }
    case 'service is created':
    case 'service is updated':
    case 'update is bad':
    case 'service is scaled':
    case 'service is rolled back':
    case 'service is removed':
    case 'update is stale':
    case 'only labels change':
      return edit(cluster, fault, service);
    case 'leader dies':
      cluster.deposeLeader(true);
      return {};
    case 'leader is deposed unknowingly':
      cluster.deposeLeader(false);
      return {};
    case 'leader dies in a plan':
      cluster.killLeaderAfter(dice.between(1, 6));
      return {};
    case 'store stops':
      cluster.world.pauseEtcd(dice.between(500, 9_000));
      return {};
    case 'node joins':
      if (cluster.hosts.size < HOSTS_MAX) cluster.join({ zone: dice.pick(ZONES) });
      return {};
    case 'agent crashes':
    case 'host loses power':
    case 'host is cut off':
    case 'node flaps':
    case 'node is drained':
    case 'node is paused':
    case 'node is active':
    case 'labels change':
    case 'self-test fails':
    case 'node is removed':
      if (host === undefined) return {};
      strikeHost(cluster, fault, host);
      return { node: host.id };
  }
}

type HostFault = Extract<
  Fault,
  `node ${string}` | `host ${string}` | 'agent crashes' | 'labels change' | 'self-test fails'
>;

function strikeHost(cluster: SimCluster, fault: Exclude<HostFault, 'node joins'>, host: Host): void {
  const { dice } = cluster.world;
  switch (fault) {
    case 'agent crashes':
      host.crashAgent();
      cluster.world.after(100, dice.chance(0.8) ? 6_000 : 90_000, () => host.startAgent());
      return;
    case 'host loses power':
      host.powerOff();
      cluster.world.after(5_000, 120_000, () => host.powerOn());
      return;
    case 'host is cut off':
      host.cutLink();
      cluster.world.after(500, dice.chance(0.6) ? 12_000 : 120_000, () => host.healLink());
      return;
    case 'node flaps':
      flap(cluster, host, dice.between(3, 8));
      return;
    case 'node is drained':
      // Somewhere must be left to go to.
      if (activeNodes(cluster) > 3) cluster.users.edit(host.id, { availability: 'drain' });
      return;
    case 'node is paused':
      if (activeNodes(cluster) > 3) cluster.users.edit(host.id, { availability: 'pause' });
      return;
    case 'node is active':
      cluster.users.edit(host.id, { availability: 'active' });
      return;
    case 'labels change':
      cluster.users.edit(host.id, { labels: { zone: dice.pick(ZONES) } });
      return;
    case 'self-test fails':
      host.report('disk is read-only');
      cluster.world.after(5_000, 60_000, () => host.report(''));
      return;
    case 'node is removed':
      if ([...cluster.world.view.all('node')].length > 5) cluster.users.removeNode(host.id);
      return;
  }
}

function flap(cluster: SimCluster, host: Host, times: number): void {
  if (times === 0) return;
  host.cutLink();
  cluster.world.after(1_000, 25_000, () => {
    host.healLink();
    cluster.world.after(1_000, 15_000, () => flap(cluster, host, times - 1));
  });
}

type Edit = Extract<Fault, `service ${string}` | `update ${string}` | 'only labels change'>;

function edit(cluster: SimCluster, fault: Edit, service: ServiceId | undefined): { readonly service?: ServiceId } {
  const { users, world } = cluster;
  const { dice } = world;
  if (fault === 'service is created') {
    if (servicesOf(cluster).length < SERVICES_MAX) users.create(randomSpec(dice, `web${world.timeline.steps}`));
    return {};
  }
  if (service === undefined) return {};
  switch (fault) {
    case 'service is updated':
      users.update(service, (spec) => withImage(rePoliced(dice, spec), dice.pick(GOOD_IMAGES), dice));
      break;
    case 'update is bad':
      users.update(service, (spec) => withImage(rePoliced(dice, spec), dice.pick(BAD_IMAGES), dice));
      break;
    case 'service is scaled':
      users.update(service, (spec) => ({ ...spec, mode: { kind: 'replicated', replicas: dice.between(0, 7) } }));
      break;
    case 'service is rolled back':
      users.rollback(service);
      break;
    case 'service is removed':
      if (servicesOf(cluster).length > 3) users.remove(service);
      break;
    case 'update is stale':
      if (users.update(service, (spec) => ({ ...spec, name: 'stale' }), 1)) throw new Error('I16: a stale update won');
      break;
    case 'only labels change':
      users.update(service, (spec) => ({ ...spec, labels: { touched: String(world.now) } }));
      break;
  }
  return { service };
}

/** A service of a kind that has some of everything. */
export function randomSpec(dice: Dice, name: string): ServiceSpec {
  const spec = aSpec(name, { mode: { kind: 'replicated', replicas: dice.between(1, 6) }, ports: randomPorts(dice) });
  const image = dice.chance(0.85) ? dice.pick(GOOD_IMAGES) : dice.pick(BAD_IMAGES);
  return withImage(rePoliced(dice, spec), image, dice);
}

function randomPorts(dice: Dice): readonly Port[] {
  return dice.chance(0.15)
    ? [{ protocol: 'tcp', target: 80, published: dice.between(8_080, 8_081), mode: 'host' }]
    : [];
}

function rePoliced(dice: Dice, spec: ServiceSpec): ServiceSpec {
  const policy = (actions: readonly UpdatePolicy['failureAction'][]): UpdatePolicy => ({
    parallelism: dice.between(0, 3),
    delayMs: dice.chance(0.6) ? 0 : dice.between(500, 5_000),
    failureAction: dice.pick(actions),
    monitorMs: dice.pick([1_000, 5_000, 10_000]),
    maxFailureRatio: dice.pick([0, 0, 0.25, 0.5]),
    order: dice.chance(0.5) ? 'start-first' : 'stop-first',
    progressDeadlineMs: dice.pick([60_000, 600_000]),
  });
  const failover = dice.chance(0.3) ? { failoverAfterMs: dice.pick([8_000, 30_000]) } : {};
  return {
    ...spec,
    update: policy(['pause', 'continue', 'rollback']),
    rollback: policy(['pause', 'continue']),
    ...failover,
  };
}

function withImage(spec: ServiceSpec, image: string, dice: Dice): ServiceSpec {
  const reserve = dice.chance(0.4);
  return {
    ...spec,
    template: aTemplate({
      container: { ...CONTAINER, image: `${image}:${dice.between(1, 1_000)}`, startTimeoutMs: 15_000 },
      reservations: reserve
        ? { nanoCpus: CPU, memoryBytes: dice.between(1, 3) * GIB }
        : { nanoCpus: 0, memoryBytes: 0 },
      restart: {
        condition: dice.pick(['any', 'any', 'on-failure', 'none']),
        delayMs: dice.pick([0, 500, 5_000]),
        maxAttempts: dice.chance(0.5) ? 0 : dice.between(1, 3),
        windowMs: dice.chance(0.7) ? 0 : 60_000,
      },
      placement: {
        constraints: dice.chance(0.2) ? [`node.labels.zone==${dice.pick(ZONES)}`] : [],
        maxReplicasPerNode: dice.chance(0.15) ? dice.between(1, 3) : 0,
      },
    }),
  };
}

export function servicesOf(cluster: SimCluster): readonly ServiceId[] {
  return [...cluster.world.view.all('service')].map(({ value }) => value.id).sort();
}

function activeNodes(cluster: SimCluster): number {
  return [...cluster.world.view.all('node')].filter(({ value }) => value.availability === 'active').length;
}
