/**
 * One image for fifty nodes at once, each on a line of 10 MB/s down and up, from a manager on one of 20 MB/s: until each has
 * all layers, proved, in its store. Real servers and certificates on loopback; the nodes share two processes, and what those
 * and the manager compute is theirs to wait for: on a small machine it is more than the lines. Nothing is unpacked.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClusterError } from '../../common/errors.ts';
import { untilAborted, withResolvers } from '../../common/iterate.ts';
import type { Digest, NodeId } from '../../common/model/ids.ts';
import { MeshManager, meshCa } from '../support/mesh-world.ts';
import type { Figure, Report } from './figure.ts';
import type { FanoutOrder, FanoutWord, Layer } from './image-fanout-host.ts';
import { untilAtRest } from './processes.ts';

const MB = 1_000_000;
const NODES = 50;
const PROCESSES = 2;
const LAYERS = 8;
const IMAGE_BYTES = 100 * MB;
const LINE = 10 * MB;
const ORIGIN_LINE = 20 * MB;
const LIMIT_MS = (IMAGE_BYTES / LINE) * 1_000;
/** Longer than fifty plain pulls through the manager's line. */
const GIVEN_UP_MS = 400_000;
/** Source: the issue of image delivery; Kraken's p50 is the line, its p99 1.8 of it. */
const AIMS = { half: 1.3, last: 1.8, egress: 2 } as const;
const ROUNDS = 1;

interface Round {
  /** Of each node, in order. */
  readonly ms: readonly number[];
  readonly egress: number;
  readonly cpuSeconds: number;
  readonly faults: readonly string[];
}

export async function benchFanout(signal: AbortSignal, rounds = ROUNDS): Promise<Report> {
  const done: Round[] = [];
  for (let round = 0; round < rounds; round += 1) {
    signal.throwIfAborted();
    await untilAtRest();
    done.push(await fanOut(signal));
  }
  const faults = done.flatMap((each) => each.faults);
  const line = { name: 'its own line', figure: LIMIT_MS, isMeasured: false } as const;
  const figures: Figure[] = [
    {
      name: 'half of 50 nodes have it',
      unit: 'ms',
      samples: done.map(({ ms }) => at(ms, 0.5)),
      peers: [{ ...line, aim: { kind: 'at most', value: AIMS.half } }],
      faults,
    },
    {
      name: '99 of 100 have it',
      unit: 'ms',
      samples: done.map(({ ms }) => at(ms, 0.99)),
      peers: [{ ...line, aim: { kind: 'at most', value: AIMS.last } }],
      faults: [],
    },
    {
      name: 'given by the manager',
      unit: 'MiB',
      samples: done.map(({ egress }) => egress / 2 ** 20),
      peers: [
        {
          name: 'the image',
          figure: IMAGE_BYTES / 2 ** 20,
          isMeasured: true,
          aim: { kind: 'at most', value: AIMS.egress },
        },
      ],
      faults: [],
    },
  ];
  const cpu = done.map(({ cpuSeconds }) => cpuSeconds.toFixed(1)).join(', ');
  return {
    figures,
    notes: [`processor time of nodes and manager together: ${cpu} s for ${(NODES * IMAGE_BYTES) / 1e9} GB`],
  };
}

async function fanOut(signal: AbortSignal): Promise<Round> {
  const dir = mkdtempSync(join(tmpdir(), 'covey-fanout-'));
  const ca = await meshCa();
  const addresses = new Map<string, string>();
  const addressOf = (id: string) => addresses.get(id);
  const manager = await MeshManager.open(join(dir, 'manager'), { ca, uploadRate: ORIGIN_LINE, addressOf });
  const hosts = Array.from({ length: PROCESSES }, () => new Host());
  try {
    const layers = await makeLayers(manager);
    for (const [index, host] of hosts.entries()) {
      const ids = Array.from({ length: NODES }, (_, at) => `n${at}`).filter((_, at) => at % PROCESSES === index);
      host.order({ kind: 'open', ids, dir, ca, manager: manager.address, bytesPerSecond: LINE });
      for (const [id, address] of await host.opened(signal)) addresses.set(id, address);
    }
    const before = process.cpuUsage();
    const from = Date.now();
    for (const host of hosts) host.order({ kind: 'take', layers });
    const ending = AbortSignal.any([signal, AbortSignal.timeout(GIVEN_UP_MS)]);
    const ends = await Promise.all(hosts.map((host) => host.ended(manager, ending)));
    const { user, system } = process.cpuUsage(before);
    const words = ends.flatMap(({ done }) => done);
    return {
      ms: words.map((word) => word.at - from).toSorted((a, b) => a - b),
      egress: manager.egress,
      cpuSeconds: (user + system) / 1e6 + ends.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
      faults: words.flatMap(({ id, fault }) => (fault === undefined ? [] : [`${id}: ${fault}`])),
    };
  } finally {
    for (const host of hosts) host.close();
    await manager.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

async function makeLayers(manager: MeshManager): Promise<readonly Layer[]> {
  const layers: Layer[] = [];
  const size = IMAGE_BYTES / LAYERS;
  for (let layer = 0; layer < LAYERS; layer += 1) {
    layers.push({ digest: (await manager.put(randomBytes(size))) as Digest, size });
  }
  return layers;
}

type DoneWord = FanoutWord & { readonly kind: 'done' };

/** A process with some of the nodes. */
class Host {
  readonly #child: ChildProcess;
  readonly #done: DoneWord[] = [];
  readonly #opened = withResolvers<readonly (readonly [string, string])[]>();
  readonly #used = withResolvers<number>();
  #manager: MeshManager | undefined;

  constructor() {
    this.#child = fork(join(import.meta.dirname, 'image-fanout-host.ts'), [], { execArgv: ['--import', 'tsx'] });
    this.#child.on('message', (word) => this.#hear(word as FanoutWord));
    this.#child.on('exit', () => {
      const cause = new ClusterError('unavailable', 'a process with nodes ended');
      this.#opened.reject(cause);
      this.#used.reject(cause);
    });
    this.#used.promise.catch(() => undefined);
  }

  order(order: FanoutOrder): void {
    this.#child.send(order);
  }

  opened(signal: AbortSignal): Promise<readonly (readonly [string, string])[]> {
    return untilAborted(this.#opened.promise, signal);
  }

  async ended(manager: MeshManager, signal: AbortSignal) {
    this.#manager = manager;
    const cpuSeconds = await untilAborted(this.#used.promise, signal);
    return { done: this.#done, cpuSeconds };
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }

  #hear(word: FanoutWord): void {
    if (word.kind === 'opened') this.#opened.resolve(word.addresses);
    if (word.kind === 'done') this.#done.push(word);
    if (word.kind === 'used') this.#used.resolve(word.cpuSeconds);
    if (word.kind === 'holds')
      this.#manager?.swarms.heard(word.id as NodeId, { have: [word.digest], gone: [] } as never);
  }
}

function at(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}
