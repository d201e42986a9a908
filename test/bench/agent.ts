/**
 * The agent's whole path without a manager: folder, container, link, address, start; and back. It runs in a network
 * namespace of its own (agent-host.ts), so this host's routes and tables stay as they are.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native } from '../../native/index.ts';
import type { HostMeasures } from './agent-host.ts';
import type { Figure, Report } from './figure.ts';

const CONTAINERS = 200;
const MANY = 1_000;
const ADDRESS = '192.0.2.1';
const HOST = fileURLToPath(new URL('agent-host.ts', import.meta.url));
// The uplink's other end is in the same namespace: nothing is ever sent there.
const UPLINK = `set -e; ip link set lo up; ip link add up0 type veth peer name up1; ip addr add ${ADDRESS}/24 dev up0
ip link set up1 up; ip link set up0 up; exec "$@"`;

/** @param containers  started for most figures; default 200; five times as many for those of a crowd */
export async function benchAgent(signal: AbortSignal, containers = CONTAINERS): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'covey-bench-'));
  const cgroup = `/covey-test-${process.pid}-${randomBytes(6).toString('hex')}`;
  const crowd = (MANY / CONTAINERS) * containers;
  try {
    const measures = await measured([folder, cgroup, ADDRESS, String(containers), String(crowd)], signal);
    return {
      figures: figuresOf(measures, containers, crowd),
      notes: ['no manager; links, addresses and routes are real'],
    };
  } finally {
    await native().cgroupRemove(cgroup);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measured(args: readonly string[], signal: AbortSignal): Promise<HostMeasures> {
  const command = ['--net', 'sh', '-c', UPLINK, 'sh', process.execPath, '--import', 'tsx', HOST, ...args];
  const child = spawn('unshare', command, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  let measures: HostMeasures | undefined;
  child.on('message', (message: HostMeasures) => {
    measures = message;
  });
  const [code] = await once(child, 'exit');
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (measures === undefined || code !== 0) throw new Error(`the host of the bench ended with ${code}`);
  return measures;
}

function figuresOf(measures: HostMeasures, containers: number, crowd: number): readonly Figure[] {
  const { alone, added, together, list, idlePercent, pss, removed, many, faults } = measures;
  const most = (value: number) => ({ kind: 'at most', value }) as const;
  const crowded = crowd === MANY;
  return [
    { name: 'start with network, one after another', unit: 'ms', samples: alone, aim: most(8), faults },
    { name: 'of it the agent: files, network', unit: 'ms', samples: added, aim: most(5), faults },
    {
      name: 'starts with network, 8 at once',
      unit: 'starts/s',
      samples: together,
      aim: { kind: 'at least', value: 250 },
      faults,
    },
    { name: `list of ${containers}`, unit: 'ms', samples: list, aim: most(5), faults },
    { name: `${containers} idle: agent and shims`, unit: '% of a core', samples: idlePercent, aim: most(0.1), faults },
    { name: 'shim: PSS', unit: 'KiB', samples: pss, aim: most(100), faults },
    {
      name: `${containers} removed, all gone`,
      unit: 'ms',
      samples: removed.map((s) => s * 1_000),
      aim: most(500),
      faults,
    },
    {
      name: `${crowd} started, 8 at once`,
      unit: 'ms',
      samples: [many.startSeconds * 1_000],
      ...(crowded ? { aim: most(8_000) } : {}),
      faults,
    },
    { name: `${crowd} idle: memory of each`, unit: 'MiB', samples: [many.mibEach], aim: most(1.2), faults },
    {
      name: `${crowd} removed, all gone`,
      unit: 'ms',
      samples: [many.removeSeconds * 1_000],
      ...(crowded ? { aim: most(3_000) } : {}),
      faults,
    },
  ];
}
