/**
 * The host's network in the kernel. Comes in: the calls of network.ts. It works out what routes, rules, table and sysctls
 * that means (paths.ts, table.ts, sysctls.ts), and lets the addon do it. What it must never do: leave a moment without a
 * complete table, or touch what does not carry our names and numbers (owned.ts).
 */
import { join } from 'node:path';
import { ClusterError, messageOf } from '../../common/errors.ts';
import type { NodeId, TaskId } from '../../common/model/ids.ts';
import type { Link, NetworkAddon, Route, RouteRefusal } from '../../native/network.ts';
import { Balance } from './balance.ts';
import { checkAttachment, checkHost, checkPorts, flawOf } from './check.ts';
import { forwardObstacle } from './forward-policy.ts';
import { type MarkNumbers, numberPeers } from './marks.ts';
import { forget, recall, remember } from './memory.ts';
import type { Attachment, HostNetwork, Network, NetworkState, Peer, PublishedPort } from './network.ts';
import { containerMac, GATEWAY, GATEWAY_MAC, LINK_PREFIX, linkName, ROUTE_PROTOCOL } from './owned.ts';
import { difference, type LinkRoute, routesFor, routesToLinks, routeText, rulesFor, ruleText } from './paths.ts';
import { StaleAddresses } from './stale.ts';
import { differing, neededSysctls, type Sysctls, writeSysctls } from './sysctls.ts';
import { REMOVE_TABLE } from './table.ts';

/** UDP counts as open for so long after its last packet. */
const UDP_RECENT_SECONDS = 5;

/** What `start` has found out. */
interface Standing {
  readonly host: HostNetwork;
  readonly uplink: Link;
  readonly sysctls: Sysctls;
}

export class NativeNetwork implements Network {
  readonly #addon: NetworkAddon;
  readonly #memoryPath: string;
  readonly #balance: Balance;
  readonly #attached = new Map<TaskId, Attachment>();
  /** Whose links are being made: links and routes are ours already, their ports are not open yet. */
  readonly #arriving = new Map<TaskId, { readonly attachment: Attachment; readonly settled: Promise<void> }>();
  readonly #stale: StaleAddresses;
  readonly #leaving = new Set<TaskId>();
  /** The turn in which they are taken out, before it has begun. */
  #leave: Promise<ReadonlyMap<TaskId, string>> | undefined;
  #standing: Standing | undefined;
  #peers: readonly Peer[] = [];
  #numbers: MarkNumbers = {};
  /** Why peers are left out. */
  #flaws: readonly string[] = [];
  /** Why peers have no route at present, by node id. */
  readonly #refused = new Map<NodeId, string>();
  /** Links that belonged to nobody at the last audit. */
  #strays: ReadonlySet<string> = new Set();
  #tail: Promise<unknown> = Promise.resolve();

  /** @param stateDir  the agent's; one file is kept there, so that sysctls and marks outlive us */
  constructor(addon: NetworkAddon, stateDir: string) {
    this.#addon = addon;
    this.#memoryPath = join(stateDir, 'network.json');
    this.#balance = new Balance(addon);
    this.#stale = new StaleAddresses(addon);
  }

  start(state: NetworkState): Promise<void> {
    return this.#inTurn('take the host over', async () => {
      checkHost(state.host);
      checkPorts(state.ports);
      for (const attachment of state.attached) checkAttachment(attachment, state.host);
      const uplink = await this.#uplinkOf(state.host.address);
      const memory = await recall(this.#memoryPath);
      const sysctls = await neededSysctls(uplink.name);
      // On disk before the first write: a crash in between must not make our values look like the host's.
      const found = await differing(sysctls);
      this.#numbers = numberPeers(
        memory.marks,
        state.peers.map((peer) => peer.nodeId),
      );
      await remember(this.#memoryPath, { sysctls: { ...found, ...memory.sysctls }, marks: this.#numbers });
      await writeSysctls(sysctls);
      this.#standing = { host: state.host, uplink, sysctls };
      this.#setPeers(state.peers, state.host);
      this.#attached.clear();
      for (const attachment of state.attached) this.#attached.set(attachment.taskId, attachment);
      await this.#addon.forgetBlock(
        state.host.block,
        state.attached.map(({ address }) => address),
      );
      await this.#route(await this.#addon.links());
      this.#balance.setPorts(state.ports);
      await this.#applyBalance();
    });
  }

  applyPeers(peers: readonly Peer[]): Promise<void> {
    return this.#inTurn('apply the peers', async () => {
      const { host } = this.#stand();
      const numbers = numberPeers(
        this.#numbers,
        peers.map((peer) => peer.nodeId),
      );
      if (JSON.stringify(numbers) !== JSON.stringify(this.#numbers)) {
        const { sysctls } = await recall(this.#memoryPath);
        await remember(this.#memoryPath, { sysctls, marks: numbers });
      }
      this.#numbers = numbers;
      this.#setPeers(peers, host);
      await this.#route(await this.#addon.links());
      await this.#applyBalance();
    });
  }

  applyPorts(ports: readonly PublishedPort[]): Promise<void> {
    return this.#inTurn('apply the published ports', async () => {
      this.#stand();
      checkPorts(ports);
      this.#balance.setPorts(ports);
      await this.#applyBalance();
    });
  }

  async attach(attachment: Attachment, pid: number): Promise<void> {
    const { taskId } = attachment;
    const done = this.#attach(attachment, pid);
    const settled = done.catch(() => undefined).finally(() => this.#arriving.delete(taskId));
    this.#arriving.set(taskId, { attachment, settled });
    await done;
    await settled;
  }

  withdraw(taskId: TaskId): Promise<void> {
    return this.#inTurn(`withdraw task ${taskId}`, async () => {
      this.#stand();
      this.#balance.withdraw(taskId);
      await this.#applyBalance();
    });
  }

  async detach(taskId: TaskId): Promise<void> {
    await this.#arriving.get(taskId)?.settled;
    this.#leaving.add(taskId);
    // One turn for all that leave while it waits for its own: each would wait for the kernel's lock of all networks.
    this.#leave ??= this.#inTurn('detach tasks', () => this.#takeOut());
    const address = (await this.#leave).get(taskId);
    // Beside the turns, so that others need not wait for it; `attach` waits for its own address.
    if (address !== undefined) await this.#stale.forget(address);
  }

  async openConnections(address: string): Promise<number> {
    return await this.#addon.countConnections(address, UDP_RECENT_SECONDS);
  }

  audit(): Promise<readonly string[]> {
    return this.#inTurn('audit the network', async () => {
      const { sysctls } = this.#stand();
      const repaired: string[] = [];
      const wrong = await differing(sysctls);
      for (const [name, value] of Object.entries(wrong)) repaired.push(`sysctl ${name} was ${value}`);
      await writeSysctls(Object.fromEntries(Object.keys(wrong).map((name) => [name, sysctls[name] ?? ''])));
      const links = await this.#addon.links();
      repaired.push(...(await this.#removeStrays(links)));
      repaired.push(...(await this.#route(links)));
      if (await this.#balance.isForeign()) {
        this.#balance.distrust();
        await this.#applyBalance();
        repaired.push('nftables changed by others: table laid down again');
      }
      return repaired;
    });
  }

  unfit(): Promise<string> {
    return this.#inTurn('look for obstacles', async () => {
      if (this.#standing === undefined) return 'the network has not been started; next: wait for the first assignments';
      const { host } = this.#standing;
      // A single host that nobody reaches is that host's trouble; one that reaches nobody is our own.
      const [first] = [...this.#refused.values(), ...this.#flaws];
      if (first !== undefined && this.#peers.length === this.#refused.size) return first;
      // Without rules every dropping chain looks like an obstacle; only then is the whole, possibly large, ruleset read.
      if (forwardObstacle(await this.#addon.runNft('list chains', true), host.pool) === '') return '';
      return forwardObstacle(await this.#addon.runNft('list ruleset', true), host.pool);
    });
  }

  async stop(): Promise<void> {
    await this.#arrivals();
    await this.#tail;
  }

  async clean(): Promise<void> {
    await this.#arrivals();
    return await this.#inTurn('clean the network up', async () => {
      this.#standing = undefined;
      this.#attached.clear();
      await this.#addon.runNft(REMOVE_TABLE, false);
      this.#balance.distrust();
      await this.#addon.changeRules(ROUTE_PROTOCOL, [], await this.#addon.rules(ROUTE_PROTOCOL));
      await this.#addon.changeRoutes(ROUTE_PROTOCOL, [], await this.#addon.routes(ROUTE_PROTOCOL));
      for (const link of await this.#addon.links()) {
        if (link.name.startsWith(LINK_PREFIX)) await this.#addon.deleteLink(link.name);
      }
      const memory = await recall(this.#memoryPath);
      await writeSysctls(memory.sysctls);
      await forget(this.#memoryPath);
    });
  }

  async #arrivals(): Promise<void> {
    await Promise.all([...this.#arriving.values()].map(({ settled }) => settled));
  }

  /** The link is made beside the turns: several at once, as far as the kernel lets them. */
  async #attach(attachment: Attachment, pid: number): Promise<void> {
    const { taskId, address } = attachment;
    const what = `attach task ${taskId}`;
    const { host, uplink } = await this.#inTurn(what, async () => {
      const standing = this.#stand();
      checkAttachment(attachment, standing.host);
      await this.#stale.settled(address);
      return standing;
    });
    await toldAs(what, () =>
      this.#addon.attachVeth({
        name: linkName(taskId),
        pid,
        address,
        gateway: GATEWAY,
        mtu: uplink.mtu,
        hostMac: GATEWAY_MAC,
        containerMac: containerMac(address),
        hostAddress: host.address,
        protocol: ROUTE_PROTOCOL,
        egressBits: attachment.rate?.egressBits ?? null,
        ingressBits: attachment.rate?.ingressBits ?? null,
      }),
    );
    await this.#inTurn(what, async () => {
      this.#attached.set(taskId, attachment);
      this.#balance.readmit(taskId);
      await this.#applyBalance();
    });
  }

  /** Attached, or about to be. */
  #present(): readonly Attachment[] {
    return [...this.#attached.values(), ...[...this.#arriving.values()].map(({ attachment }) => attachment)];
  }

  /** Takes out all that are leaving; gives the addresses that nobody has now. */
  async #takeOut(): Promise<ReadonlyMap<TaskId, string>> {
    const ids = [...this.#leaving];
    this.#leaving.clear();
    this.#leave = undefined;
    const { host } = this.#stand();
    const gone = ids.flatMap((taskId) => this.#attached.get(taskId) ?? []);
    for (const { taskId } of gone) this.#attached.delete(taskId);
    if (gone.length === 0) return new Map();
    await this.#applyBalance();
    const links = gone.map(({ taskId, address }): LinkRoute => ({ address, device: linkName(taskId) }));
    await this.#addon.changeRoutes(ROUTE_PROTOCOL, [], routesToLinks(host, links));
    // The links go with the containers' namespaces, asynchronously; what is left of them falls to the audit.
    // A successor may have an address already when a detach was tried again.
    const taken = new Set(this.#present().map(({ address }) => address));
    return new Map(gone.filter(({ address }) => !taken.has(address)).map(({ taskId, address }) => [taskId, address]));
  }

  /** Makes the kernel's routes and rules those that we need; what it had to change, a line each. */
  async #route(links: readonly Link[]): Promise<readonly string[]> {
    const { host, uplink } = this.#stand();
    const present = new Set(links.map((link) => link.name));
    const linkRoutes = this.#present()
      .map(({ taskId, address }): LinkRoute => ({ address, device: linkName(taskId) }))
      .filter((route) => present.has(route.device));
    const toPeers = routesFor(host, uplink.name, this.#peers, this.#numbers);
    const wanted = [...toPeers, ...routesToLinks(host, linkRoutes)];
    const routes = difference(wanted, await this.#addon.routes(ROUTE_PROTOCOL), routeText);
    const refusals = await this.#addon.changeRoutes(ROUTE_PROTOCOL, routes.missing, routes.surplus);
    this.#refuseRoutes(refusals, routes.missing, uplink);
    const wantedRules = rulesFor(host, this.#peers, this.#numbers);
    const rules = difference(wantedRules, await this.#addon.rules(ROUTE_PROTOCOL), ruleText);
    if (rules.missing.length + rules.surplus.length > 0) {
      await this.#addon.changeRules(ROUTE_PROTOCOL, rules.missing, rules.surplus);
    }
    return [
      ...routes.missing
        .filter((_, index) => !refusals.some((refusal) => refusal.index === index))
        .map((route) => `route ${routeText(route)} was missing`),
      ...routes.surplus.map((route) => `route ${routeText(route)} was surplus`),
      ...rules.missing.map((rule) => `rule ${ruleText(rule)} was missing`),
      ...rules.surplus.map((rule) => `rule ${ruleText(rule)} was surplus`),
    ];
  }

  /** The kernel removes a link with its container's namespace; only one that was nobody's at two audits needs us. */
  async #removeStrays(links: readonly Link[]): Promise<readonly string[]> {
    const ours = new Set(this.#present().map(({ taskId }) => linkName(taskId)));
    const strays = links.map((link) => link.name).filter((name) => name.startsWith(LINK_PREFIX) && !ours.has(name));
    const seenBefore = strays.filter((name) => this.#strays.has(name));
    this.#strays = new Set(strays);
    const removed: string[] = [];
    for (const name of seenBefore)
      if (await this.#addon.deleteLink(name)) removed.push(`link ${name} belonged to nobody`);
    return removed;
  }

  /** Peers that describe themselves as what they cannot be are left out. */
  #setPeers(peers: readonly Peer[], host: HostNetwork): void {
    this.#flaws = peers.flatMap((peer) => {
      const flaw = flawOf(peer, host);
      return flaw === '' ? [] : [`node ${peer.nodeId} cannot be used: ${flaw}`];
    });
    this.#peers = peers.filter((peer) => flawOf(peer, host) === '');
  }

  /** They stay wanted: the next audit tries again, for instance when the uplink is back. */
  #refuseRoutes(refusals: readonly RouteRefusal[], routes: readonly Route[], uplink: Link): void {
    this.#refused.clear();
    for (const { index, code, text } of refusals) {
      const peer = this.#peers.find(({ address }) => address === routes[index]?.gateway);
      if (peer === undefined) continue;
      const what = `node ${peer.nodeId} at ${peer.address} cannot be routed to through ${uplink.name}`;
      const why = `${text === '' ? code : text}; next: give both hosts addresses on one segment`;
      this.#refused.set(peer.nodeId, `${what}: ${why}`);
    }
  }

  async #applyBalance(): Promise<void> {
    const { host } = this.#stand();
    await this.#balance.apply({
      host,
      peers: this.#peers,
      numbers: this.#numbers,
      attached: [...this.#attached.values()],
    });
  }

  async #uplinkOf(address: string): Promise<Link> {
    const links = await this.#addon.links();
    const uplink = links.find((link) => link.addresses.some((own) => own.split('/')[0] === address));
    if (uplink !== undefined) return uplink;
    throw new ClusterError('invalid', `no interface of this host has the address ${address}`, {
      field: 'address',
      hint: `advertise one of: ${links.flatMap((link) => link.addresses).join(', ')}`,
    });
  }

  #stand(): Standing {
    if (this.#standing !== undefined) return this.#standing;
    throw new ClusterError('unavailable', 'the network of this host has not been started');
  }

  #inTurn<T>(what: string, work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(() => toldAs(what, work));
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}

async function toldAs<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof ClusterError) throw cause;
    throw new ClusterError('internal', `cannot ${what}: ${messageOf(cause)}`, { cause });
  }
}
