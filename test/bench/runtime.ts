/**
 * Container start → exit of the native core beside crun and runc and beside the bare kernel, in one run, turn by turn,
 * so that other load on the machine strikes all of them alike: read the ratios.
 *
 * The core is measured from the call of containerCreate until its exit is on disk and known; crun and runc from spawn to
 * exit, by a small C program (no Node in their way) and on a plain folder, without an overlay; the bound is
 * native/test/bound. Every exit code is checked. The command is the same static program.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { hostFacts } from '../../agent/runtime/host-facts.ts';
import { type OciConfig, ociConfig } from '../../agent/runtime/oci-config.ts';
import { messageOf } from '../../common/errors.ts';
import { builtFile, native } from '../../native/index.ts';
import { type Figure, median, type Peer, type Report } from './figure.ts';
import { pssKib } from './processes.ts';

const ROUNDS = 60;
const SHIM_ROUNDS = 5;
const PEERS = ['crun', 'runc'] as const;
/** What we aim at: times the bare kernel, and KiB of a shim. */
const BOUND_RATIO = 2;
const SHIM_KIB = 100;
const EXIT_CODE = 0;

interface Bench {
  readonly folder: string;
  readonly layer: string;
  readonly cgroup: string;
  readonly config: (id: string, args: readonly string[]) => OciConfig;
}

type Name = 'bound' | 'covey' | 'crun' | 'runc';

export async function benchRuntime(signal: AbortSignal): Promise<Report> {
  const bench = await prepare();
  try {
    const absent = { crun: whyNot(bench, 'crun'), runc: whyNot(bench, 'runc') };
    const times: Record<Name, number[]> = { bound: [], covey: [], crun: [], runc: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      signal.throwIfAborted();
      times.bound.push(boundOnce(bench, round));
      times.covey.push(await coveyOnce(bench, round));
      for (const peer of PEERS) if (absent[peer] === undefined) times[peer].push(peerOnce(bench, peer, round));
    }
    const pss: number[] = [];
    for (let round = 0; round < SHIM_ROUNDS; round += 1) pss.push(await shimPssKib(bench, round));
    const present = PEERS.filter((peer) => absent[peer] === undefined);
    return { figures: figuresOf(times, present, pss), notes: PEERS.flatMap((peer) => absent[peer] ?? []) };
  } finally {
    await cleanUp(bench);
  }
}

function figuresOf(times: Readonly<Record<Name, readonly number[]>>, present: readonly Name[], pss: readonly number[]) {
  // A wrong exit code ends the bench, so what is here is correct.
  const base = { unit: 'ms', faults: [] } as const;
  const beside = (name: Name, value: number): Peer => ({
    name: name === 'bound' ? 'the bare kernel' : name,
    figure: median(times[name]),
    isMeasured: true,
    aim: { kind: 'at most', value },
  });
  const peers = [beside('bound', BOUND_RATIO), ...present.map((name) => beside(name, 1))];
  return [
    { ...base, name: 'covey', samples: times.covey, peers },
    ...present.map((name): Figure => ({ ...base, name, samples: times[name] })),
    { ...base, name: 'the bare kernel', samples: times.bound },
    { ...base, name: 'shim alone: PSS', unit: 'KiB', samples: pss, aim: { kind: 'at most', value: SHIM_KIB } },
  ] satisfies readonly Figure[];
}

/** Containers of a run that was broken off are killed; the peers also use hierarchies that Covey leaves alone. */
async function cleanUp(bench: Bench): Promise<void> {
  await native().cgroupRemove(bench.cgroup);
  for (const hierarchy of ['systemd', 'unified']) {
    const left = join('/sys/fs/cgroup', hierarchy, bench.cgroup);
    if (!existsSync(left)) continue;
    for (const name of readdirSync(left, { withFileTypes: true }))
      if (name.isDirectory()) rmdirSync(join(left, name.name));
    rmdirSync(left);
  }
  rmSync(bench.folder, { recursive: true, force: true });
}

async function prepare(): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'covey-bench-'));
  const layer = join(folder, 'layer');
  for (const name of ['bin', 'proc', 'dev', 'sys']) mkdirSync(join(layer, name), { recursive: true });
  mkdirSync(join(folder, 'run'));
  cpSync(builtFile('test-init'), join(layer, 'bin', 'init'));
  const cgroup = `/covey-test-${randomBytes(6).toString('hex')}`;
  await native().cgroupEnsureParent(cgroup);
  const image = { layers: [], entrypoint: ['/bin/init'], cmd: [], env: [], workdir: '', user: '', stopSignal: '' };
  const config = (id: string, args: readonly string[]): OciConfig =>
    ociConfig({
      image,
      template: {
        image: 'bench',
        args,
        env: [],
        labels: {},
        readOnly: false,
        stopGraceMs: 0,
        health: { kind: 'none' },
        startTimeoutMs: 0,
        drainMs: 0,
      },
      limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
      hostname: 'bench',
      user: { uid: 0, gid: 0, additionalGids: [], home: '/root' },
      cgroup: `${cgroup}/${id}`,
      files: [],
      host: hostFacts(),
    });
  return { folder, layer, cgroup, config };
}

function boundOnce(bench: Bench, round: number): number {
  const args = ['1', bench.layer, join(bench.folder, 'run'), `${bench.cgroup}/bound${round}`, '/bin/init', 'exit', '0'];
  return Number(execFileSync(builtFile('bare-bound'), args, { encoding: 'utf8' })) / 1_000;
}

async function createCovey(bench: Bench, id: string, args: readonly string[]) {
  const stateDir = join(bench.folder, id);
  mkdirSync(stateDir);
  const identity = await native().containerCreate(JSON.stringify(bench.config(id, args)), {
    id,
    stateDir,
    layers: [bench.layer],
    overlayMode: 'auto',
    volatile: true,
    reaper: false,
    logPath: join(stateDir, 'log'),
    logMaxBytes: 10 << 20,
    logFiles: 5,
    logFormat: 'text',
    logBufferBytes: 0,
    shimPath: builtFile('covey-shim'),
  });
  return { stateDir, identity };
}

async function coveyOnce(bench: Bench, round: number): Promise<number> {
  const id = `covey${round}`;
  const from = performance.now();
  const { stateDir, identity } = await createCovey(bench, id, ['exit', String(EXIT_CODE)]);
  const watch = native().watchProcess(identity.shimPid, identity.shimStartTime);
  await native().containerStart(stateDir);
  await watch.ended;
  const { code } = JSON.parse(readFileSync(join(stateDir, 'exit.json'), 'utf8'));
  const tookMs = performance.now() - from;
  if (code !== EXIT_CODE) throw new Error(`covey: exit code ${code}`);
  await native().cgroupRemove(`${bench.cgroup}/${id}`);
  return tookMs;
}

/** crun gives up on hybrid hosts unless it sees no unified hierarchy; it gets a mount namespace without one. */
function peerOnce(bench: Bench, name: 'crun' | 'runc', round: number): number {
  const id = `${name}-${bench.cgroup.slice(1)}-${round}`;
  const bundle = join(bench.folder, id);
  mkdirSync(bundle);
  const config = bench.config(id, ['exit', String(EXIT_CODE)]);
  writeFileSync(
    join(bundle, 'config.json'),
    JSON.stringify({ ...config, root: { path: bench.layer, readonly: false } }),
  );
  const command = [
    builtFile('bare-bound'),
    'time',
    name,
    '--root',
    join(bench.folder, `${name}-root`),
    'run',
    '--bundle',
    bundle,
    id,
  ];
  const wrapped =
    name === 'crun'
      ? [
          'unshare',
          '-m',
          '--propagation',
          'slave',
          'sh',
          '-c',
          'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"',
          'sh',
          ...command,
        ]
      : command;
  // A code other than 0 throws, with the runtime's own words.
  const text = execFileSync(wrapped[0] ?? '', wrapped.slice(1), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return Number(text) / 1_000;
}

/** Why the peer cannot be measured; undefined when it can. */
function whyNot(bench: Bench, peer: 'crun' | 'runc'): string | undefined {
  try {
    execFileSync(peer, ['--version'], { stdio: 'ignore' });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return `${peer} is not installed, so nothing is said about it: apt-get install ${peer}`;
  }
  try {
    peerOnce(bench, peer, ROUNDS);
    return undefined;
  } catch (cause) {
    const { stderr } = cause as { readonly stderr?: string };
    return `${peer} cannot run a container here, so nothing is said about it: ${(stderr || messageOf(cause)).trim()}`;
  }
}

async function shimPssKib(bench: Bench, round: number): Promise<number> {
  const id = `rest${round}`;
  const { stateDir, identity } = await createCovey(bench, id, ['sleep']);
  const watch = native().watchProcess(identity.shimPid, identity.shimStartTime);
  await native().containerStart(stateDir);
  const kib = pssKib(identity.shimPid) ?? Number.NaN;
  await native().cgroupKill(`${bench.cgroup}/${id}`);
  await watch.ended;
  return kib;
}
