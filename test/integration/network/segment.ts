/**
 * Hosts on one segment, made of network namespaces: a switch, three hosts, a router and a client behind it. Everything
 * is made below a name of its own and removed again; what a killed run left is swept by the next.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Network, NetworkState, Peer } from '../../../agent/network/network.ts';
import { ClusterError, type ErrorCode } from '../../../common/errors.ts';
import { type PromiseWithResolvers, withResolvers } from '../../../common/iterate.ts';
import type { NodeId } from '../../../common/model/ids.ts';
import type { Answer, Call } from './host.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const PREFIX = 'cvt';
export const POOL = '10.88.0.0/16';
export const CLIENT = '10.99.0.100';
export const ROUTER = '10.77.0.254';

/** Runs a command; its output without the last newline. */
export function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trimEnd();
}

/** A running `peer` with its lines of output. */
export class Talker {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  constructor(command: string, args: readonly string[]) {
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.process.stdout === null) throw new ClusterError('internal', `${command} has no output`);
    this.#reader = createInterface({ input: this.process.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    return next.done === true ? 'ended' : next.value;
  }

  /** Sends a line and gives the one that comes back. */
  async say(line: string): Promise<string> {
    this.process.stdin?.write(`${line}\n`);
    return await this.line();
  }

  async end(): Promise<void> {
    const gone = this.process.exitCode !== null || this.process.signalCode !== null;
    this.process.kill('SIGKILL');
    if (!gone) await once(this.process, 'exit');
    this.#reader.close();
  }
}

/** A host: its namespace, and a child process that runs the network of it. */
export class Host {
  readonly namespace: string;
  readonly nodeId: NodeId;
  readonly address: string;
  readonly block: string;
  readonly stateDir: string;
  readonly mac: string;
  #child: ChildProcess | undefined;
  #last = 0;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();

  constructor(segment: string, folder: string, number: number) {
    this.namespace = `${segment}-h${number}`;
    this.nodeId = `node${number}` as NodeId;
    this.address = `10.77.0.${number}`;
    this.block = `10.88.${number}.0/24`;
    this.stateDir = join(folder, `h${number}`);
    this.mac = run('ip', 'netns', 'exec', this.namespace, 'cat', '/sys/class/net/eth0/address');
  }

  get peer(): Peer {
    return { nodeId: this.nodeId, address: this.address, mac: this.mac, block: this.block };
  }

  /** The agent of this host comes up, as after its start or a restart. */
  async up(): Promise<void> {
    const script = join(HERE, 'host.ts');
    const args = ['netns', 'exec', this.namespace, process.execPath, '--import', 'tsx', script, this.stateDir];
    const child = spawn('ip', args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child = child;
    const ready = withResolvers<unknown>();
    this.#waiting.set(0, ready);
    child.on('message', (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.error === null) waiting?.resolve(answer.result);
      else waiting?.reject(new ClusterError(answer.error.code as ErrorCode, answer.error.message));
    });
    child.on('exit', () => {
      for (const waiting of this.#waiting.values()) waiting.reject(new ClusterError('unavailable', 'host is down'));
      this.#waiting.clear();
    });
    await ready.promise;
  }

  /** The agent dies at once, as by kill -9. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** Calls a method of the network in the child. */
  async call<Method extends keyof Network>(
    method: Method,
    ...args: Parameters<Network[Method]>
  ): Promise<Awaited<ReturnType<Network[Method]>>> {
    const id = ++this.#last;
    const answer = withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#child?.send({ id, method, args } satisfies Call);
    return (await answer.promise) as Awaited<ReturnType<Network[Method]>>;
  }

  /** Runs a command in the host's namespace. */
  exec(command: string, ...args: readonly string[]): string {
    return run('ip', 'netns', 'exec', this.namespace, command, ...args);
  }

  /** What the network of this host starts with. */
  state(peers: readonly Host[], rest: Partial<NetworkState> = {}): NetworkState {
    const others = peers.filter((host) => host !== this).map((host) => host.peer);
    const host = { address: this.address, pool: POOL, block: this.block };
    return { host, peers: others, ports: [], attached: [], ...rest };
  }
}

export class Segment {
  readonly name: string;
  readonly hosts: readonly Host[];
  readonly #folder: string;
  readonly #program: string;
  readonly #talkers: Talker[] = [];

  constructor(hostCount: number) {
    sweep();
    this.name = `${PREFIX}${process.pid}x${Math.floor(Math.random() * 1e4)}`;
    this.#folder = mkdtempSync(join(tmpdir(), 'covey-network-'));
    this.#program = join(this.#folder, 'peer');
    run('cc', '-O1', '-Wall', '-Wextra', '-Werror', '-o', this.#program, join(HERE, 'peer.c'));
    this.#namespace('sw');
    this.#ip('sw', 'link', 'add', 'br0', 'type', 'bridge');
    this.#ip('sw', 'link', 'set', 'br0', 'up');
    const numbers = Array.from({ length: hostCount }, (_, index) => index + 1);
    for (const number of numbers) {
      this.#plug(`h${number}`, `10.77.0.${number}/24`);
      this.#ip(`h${number}`, 'route', 'add', 'default', 'via', ROUTER);
    }
    this.#plug('rt', `${ROUTER}/24`);
    this.#namespace('cl');
    this.#ip('rt', 'link', 'add', 'out', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${this.name}-cl`);
    this.#address('rt', 'out', '10.99.0.1/24');
    this.#address('cl', 'eth0', `${CLIENT}/24`);
    this.#ip('cl', 'route', 'add', 'default', 'via', '10.99.0.1');
    this.inside('rt', 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    this.hosts = numbers.map((number) => new Host(this.name, this.#folder, number));
  }

  /** Runs a command in the namespace of `rt`, `cl` or `h1`…; its output. */
  inside(place: string, command: string, ...args: readonly string[]): string {
    return run('ip', 'netns', 'exec', `${this.name}-${place}`, command, ...args);
  }

  /** Starts `peer` with these words in `rt`, `cl`, `h1`… */
  talk(place: string, ...words: readonly string[]): Talker {
    return this.#keep(new Talker('ip', ['netns', 'exec', `${this.name}-${place}`, this.#program, ...words]));
  }

  /** What `count` calls from `place` to a port get, a line each. */
  ask(place: string, address: string, port: number, count = 1, ...more: readonly string[]): readonly string[] {
    return this.inside(place, this.#program, 'ask', address, `${port}`, `${count}`, ...more).split('\n');
  }

  /** A container: a server that greets as `id`, in a network namespace of its own. */
  async container(id: string, port: number): Promise<Talker> {
    const talker = this.#keep(new Talker('unshare', ['--net', this.#program, 'serve', id, `${port}`]));
    await talker.line();
    return talker;
  }

  /** Like `ask`, from within a container. */
  askFrom(container: Talker, address: string, port: number, count = 1, ...more: readonly string[]): readonly string[] {
    return this.within(container, 'ask', address, `${port}`, `${count}`, ...more).split('\n');
  }

  /** Runs `peer` with these words within a container. */
  within(container: Talker, ...words: readonly string[]): string {
    return this.enter(container, this.#program, ...words);
  }

  /** Starts `peer` with these words within a container. */
  talkFrom(container: Talker, ...words: readonly string[]): Talker {
    return this.#keep(
      new Talker('nsenter', ['--net', '--target', `${container.process.pid}`, this.#program, ...words]),
    );
  }

  /** Runs any command in the container's network namespace. */
  enter(container: Talker, command: string, ...words: readonly string[]): string {
    return run('nsenter', '--net', '--target', `${container.process.pid}`, command, ...words);
  }

  async close(): Promise<void> {
    for (const talker of this.#talkers) await talker.end();
    for (const host of this.hosts) await host.kill();
    removeNamespaces((name) => name.startsWith(`${this.name}-`));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #keep(talker: Talker): Talker {
    this.#talkers.push(talker);
    return talker;
  }

  #namespace(place: string): void {
    run('ip', 'netns', 'add', `${this.name}-${place}`);
    this.#ip(place, 'link', 'set', 'lo', 'up');
  }

  #plug(place: string, address: string): void {
    this.#namespace(place);
    this.#ip('sw', 'link', 'add', place, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${this.name}-${place}`);
    this.#ip('sw', 'link', 'set', place, 'master', 'br0', 'up');
    this.#address(place, 'eth0', address);
  }

  #address(place: string, link: string, address: string): void {
    this.#ip(place, 'address', 'add', address, 'dev', link);
    this.#ip(place, 'link', 'set', link, 'up');
  }

  #ip(place: string, ...args: readonly string[]): void {
    run('ip', '-netns', `${this.name}-${place}`, ...args);
  }
}

/** Namespaces of runs whose process is gone. */
function sweep(): void {
  removeNamespaces((name) => {
    const owner = new RegExp(`^${PREFIX}(\\d+)x\\d+-`).exec(name)?.[1];
    return owner !== undefined && !existsSync(`/proc/${owner}`);
  });
}

function removeNamespaces(isOurs: (name: string) => boolean): void {
  const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  for (const name of names.filter(isOurs)) run('ip', 'netns', 'delete', name);
}
