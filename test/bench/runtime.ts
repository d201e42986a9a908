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
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type OciConfig, ociConfig } from '../../agent/runtime/oci-config.ts';
import { builtFile, native } from '../../native/index.ts';

const ROUNDS = 60;
const EXIT_CODE = 0;

interface Bench {
  readonly folder: string;
  readonly layer: string;
  readonly cgroup: string;
  readonly config: (id: string, args: readonly string[]) => OciConfig;
}

/** Prints min, median, max and ratios, and the PSS of a shim at rest; one line each. */
export async function benchRuntime(print: (line: string) => void): Promise<void> {
  const bench = await prepare();
  try {
    const peers = { crun: crunWorks(bench), runc: true };
    const times: Record<'bound' | 'covey' | 'crun' | 'runc', number[]> = { bound: [], covey: [], crun: [], runc: [] };
    for (let round = 0; round < ROUNDS; round += 1) {
      times.bound.push(boundOnce(bench, round));
      times.covey.push(await coveyOnce(bench, round));
      if (peers.crun) times.crun.push(peerOnce(bench, 'crun', round));
      if (peers.runc) times.runc.push(peerOnce(bench, 'runc', round));
    }
    const bound = median(times.bound);
    print(`container start -> exit, ${ROUNDS} rounds in turn, ms (min / median / max, times the bound)`);
    for (const [name, values] of Object.entries(times)) {
      if (values.length === 0) print(`  ${name.padEnd(6)} cannot run here`);
      else print(`  ${name.padEnd(6)} ${line(values)}   ${(median(values) / bound).toFixed(2)}x`);
    }
    print(`shim at rest: ${await shimPssKib(bench)} KiB PSS`);
  } finally {
    await native().cgroupRemove(bench.cgroup);
    // The peers also use hierarchies that Covey leaves alone.
    for (const hierarchy of ['systemd', 'unified']) {
      const left = join('/sys/fs/cgroup', hierarchy, bench.cgroup);
      if (existsSync(left)) rmdirSync(left);
    }
    rmSync(bench.folder, { recursive: true, force: true });
  }
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
    logPath: join(stateDir, 'log'),
    logMaxBytes: 10 << 20,
    logFiles: 5,
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

function crunWorks(bench: Bench): boolean {
  try {
    peerOnce(bench, 'crun', ROUNDS);
    return true;
  } catch {
    return false;
  }
}

async function shimPssKib(bench: Bench): Promise<number> {
  const { stateDir, identity } = await createCovey(bench, 'rest', ['sleep']);
  const watch = native().watchProcess(identity.shimPid, identity.shimStartTime);
  await native().containerStart(stateDir);
  const text = readFileSync(`/proc/${identity.shimPid}/smaps_rollup`, 'utf8');
  await native().cgroupKill(`${bench.cgroup}/rest`);
  await watch.ended;
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function line(values: readonly number[]): string {
  return [Math.min(...values), median(values), Math.max(...values)].map((ms) => ms.toFixed(2).padStart(7)).join(' / ');
}
