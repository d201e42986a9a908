/**
 * What a change of one service's tasks costs the load balancer: milliseconds from `applyPorts` to the kernel's answer,
 * with 100 and 1,000 services of three tasks each. Runs in a network namespace of its own (this file again, as a child).
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NativeNetwork } from '../../agent/network/native-network.ts';
import type { PublishedPort } from '../../agent/network/network.ts';
import type { TaskId } from '../../common/model/ids.ts';
import { native } from '../../native/index.ts';

const ROUNDS = 30;
const SIZES = [100, 1_000];
const HOST = { address: '10.77.0.1', pool: '10.88.0.0/16', block: '10.88.1.0/24' };

/** Prints a line per number of services: minimum, median and maximum of a change, and the whole table at start. */
export async function benchLoadBalancer(print: (line: string) => void): Promise<void> {
  const self = fileURLToPath(import.meta.url);
  const furnish =
    'ip link add eth0 type veth peer name far && ip addr add 10.77.0.1/24 dev eth0 && ip link set eth0 up';
  const words = ['--net', 'sh', '-c', `${furnish} && exec "$0" --import tsx "$1"`, process.execPath, self];
  for (const line of execFileSync('unshare', words, { encoding: 'utf8' }).trimEnd().split('\n')) print(line);
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
    const network = new NativeNetwork(native(), folder);
    const startedAt = performance.now();
    await network.start({ host: HOST, peers: [], ports: services(count, 0), attached: [] });
    const startMs = performance.now() - startedAt;
    const times: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const ports = services(count, round);
      const begin = performance.now();
      await network.applyPorts(ports);
      times.push(performance.now() - begin);
    }
    times.sort((a, b) => a - b);
    const [least, middle, most] = [times[0], times[ROUNDS / 2], times.at(-1)].map((ms) => (ms ?? 0).toFixed(1));
    console.log(
      `load balancer, ${count} services: change min ${least} median ${middle} max ${most} ms, laid down whole in ${startMs.toFixed(0)} ms`,
    );
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = mkdtempSync(join(tmpdir(), 'covey-bench-lb-'));
  try {
    await measure(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
