/**
 * What a change of one service's tasks costs the load balancer: milliseconds from `applyPorts` to the kernel's answer,
 * with 100 and 1,000 services of three tasks each. Runs in a network namespace of its own (this file again, as a child).
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { NativeNetwork } from '../../agent/network/native-network.ts';
import type { PublishedPort } from '../../agent/network/network.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { native } from '../../native/index.ts';
import { rows } from '../support/dev-cluster.ts';
import type { Figure, Report } from './figure.ts';

const run = promisify(execFile);

const RUNS = 5;
/** Changes in a run. */
const ROUNDS = 6;
const SIZES = [100, 1_000];
const HOST = { address: '10.77.0.1', pool: '10.88.0.0/16', block: '10.88.1.0/24' };

/** What the child writes, one a line. */
interface Measured {
  readonly services: number;
  readonly wholeMs: readonly number[];
  readonly changesMs: readonly number[];
}

export async function benchLoadBalancer(signal: AbortSignal): Promise<Report> {
  const self = fileURLToPath(import.meta.url);
  const furnish =
    'ip link add eth0 type veth peer name far && ip addr add 10.77.0.1/24 dev eth0 && ip link set eth0 up';
  // Made and removed here: the child may be killed.
  const folder = mkdtempSync(join(tmpdir(), 'covey-bench-lb-'));
  const program = [process.execPath, self, folder];
  try {
    const { stdout } = await run(
      'unshare',
      ['--net', 'sh', '-c', `${furnish} && exec "$0" --import tsx "$1" "$2"`, ...program],
      { signal },
    );
    return { figures: rows<Measured>(stdout).flatMap(figuresOf), notes: [] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function figuresOf({ services, wholeMs, changesMs }: Measured): readonly Figure[] {
  const base = { unit: 'ms', faults: [] } as const;
  return [
    { ...base, name: `${services} services: one changes`, samples: changesMs },
    { ...base, name: `${services} services: all laid down`, samples: wholeMs },
  ];
}

function services(count: number, changed: number): readonly PublishedPort[] {
  return Array.from({ length: count }, (_, index) => ({
    protocol: 'tcp',
    published: 10_000 + index,
    backends: [0, 1, 2].map((number) => ({
      taskId: `task${index}x${number}` as TaskId,
      address: `10.88.${index % 250}.${number + 2}`,
      target: index === 0 ? 80 + (changed % 2) : 80,
    })),
  }));
}

async function measure(folder: string): Promise<void> {
  for (const count of SIZES) {
    const wholeMs: number[] = [];
    const changesMs: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      const network = new NativeNetwork(native(), folder);
      wholeMs.push(
        await timed(() => network.start({ host: HOST, peers: [], ports: services(count, 0), attached: [] })),
      );
      for (let round = 1; round <= ROUNDS; round++) {
        const ports = services(count, round);
        changesMs.push(await timed(() => network.applyPorts(ports)));
      }
    }
    console.log(JSON.stringify({ services: count, wholeMs, changesMs } satisfies Measured));
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await measure(process.argv[2] ?? '');
