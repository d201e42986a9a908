/**
 * `npm run bench`: what Covey costs on this machine, figure by figure, beside what can be measured beside it in the same
 * run. Nothing fails for being slow: it ends with 1 only when something was not correct or could not be measured at all.
 * Whatever ends it, nothing of it stays on the machine.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { benchAgent } from './agent.ts';
import { BenchCluster, HOSTS } from './bench-cluster.ts';
import { benchCreate } from './create.ts';
import { benchDeath } from './death.ts';
import { benchExec } from './exec.ts';
import { type Entry, entries, head, lines, type Report } from './figure.ts';
import { benchIdle } from './idle.ts';
import { benchRebuild } from './image-build.ts';
import { benchFanout } from './image-fanout.ts';
import { benchRegistry } from './image-registry.ts';
import { benchUnpack } from './image-unpack.ts';
import { benchLoadBalancer } from './lb.ts';
import { benchList } from './list.ts';
import { machine } from './machine.ts';
import { benchPlace } from './place.ts';
import { ForeignCpu } from './processes.ts';
import { benchRuntime } from './runtime.ts';

type Bench = { readonly name: string; readonly title: string } & (
  | { readonly needs: 'nothing'; readonly run: (signal: AbortSignal, runs?: number) => Promise<Report> }
  | { readonly needs: 'cluster'; readonly run: (cluster: BenchCluster, signal: AbortSignal) => Promise<Report> }
);

/** In the order in which they run: those that need no cluster first, and of the others the quiet ones first. */
const BENCHES: readonly Bench[] = [
  { name: 'runtime', title: 'a container from start to exit, in turns', needs: 'nothing', run: benchRuntime },
  {
    name: 'agent',
    title: 'containers with networks, by an agent without a manager',
    needs: 'nothing',
    run: benchAgent,
  },
  { name: 'place', title: 'tasks placed by the scheduler', needs: 'nothing', run: benchPlace },
  {
    name: 'lb',
    title: "a change of one service in the load balancer's tables",
    needs: 'nothing',
    run: benchLoadBalancer,
  },
  { name: 'image-unpack', title: 'a layer unpacked, beside tar -x', needs: 'nothing', run: benchUnpack },
  { name: 'image-build', title: 'an image built again', needs: 'nothing', run: benchRebuild },
  { name: 'image-fanout', title: 'one image for fifty nodes at once', needs: 'nothing', run: benchFanout },
  {
    name: 'image-registry',
    title: 'an image pulled and pushed, beside skopeo and docker',
    needs: 'nothing',
    run: benchRegistry,
  },
  { name: 'idle', title: 'a cluster with nothing to do', needs: 'cluster', run: benchIdle },
  { name: 'ls', title: 'a question asked by the CLI', needs: 'cluster', run: benchList },
  { name: 'exec', title: 'a command in a container', needs: 'cluster', run: benchExec },
  { name: 'create', title: 'from service create to all replicas running', needs: 'cluster', run: benchCreate },
  { name: 'death', title: 'from kill -9 of a container', needs: 'cluster', run: benchDeath },
];

const EXIT = { done: 0, failed: 1, usage: 2, interrupted: 130 } as const;
const CLI = 'dist/cli/main.js';

const USAGE = `Usage: npm run bench [-- [--json FILE] [--runs N] [NAME...]]

${BENCHES.map(({ name, title }) => `  ${name.padEnd(13)} ${title}`).join('\n')}

  --json FILE   also write every figure there
  --runs N      runs of each contender in "runtime", containers in "agent" (default 200); rounds in "image-…"
`;

class Run {
  readonly #signal: AbortSignal;
  readonly #runs: number | undefined;
  readonly entries: Entry[] = [];
  #cluster: BenchCluster | undefined;
  failed = 0;

  constructor(signal: AbortSignal, runs: number | undefined) {
    this.#signal = signal;
    this.#runs = runs;
  }

  async bench(bench: Bench): Promise<void> {
    this.#signal.throwIfAborted();
    try {
      if (bench.needs === 'cluster') this.#cluster ??= await bringUp(this.#signal);
      const foreign = new ForeignCpu(() => [process.pid, ...(this.#cluster ? [this.#cluster.supervisor()] : [])]);
      const from = performance.now();
      const report = await this.#report(bench);
      const cores = foreign.cores();
      const seconds = (performance.now() - from) / 1_000;
      console.log(`\n${bench.name}: ${bench.title} (${seconds.toFixed(0)} s; others used ${cores.toFixed(2)} cores)`);
      this.#print(bench.name, report, cores);
    } catch (cause) {
      if (this.#signal.aborted) throw cause;
      this.failed += 1;
      console.log(`\n${bench.name}: ${bench.title}\n  FAILED: ${explain(toClusterError(cause))}`);
    }
  }

  async close(): Promise<void> {
    if (this.#cluster === undefined) return;
    console.error('\nremoving the cluster');
    await this.#cluster.clean();
  }

  #report(bench: Bench): Promise<Report> {
    switch (bench.needs) {
      case 'nothing':
        return bench.run(this.#signal, this.#runs);
      case 'cluster':
        return bench.run(this.#cluster as BenchCluster, this.#signal);
    }
  }

  #print(name: string, { figures, notes }: Report, cores: number): void {
    console.log([head(), ...figures.flatMap(lines)].join('\n'));
    for (const note of notes) console.log(`  ${note}`);
    const faults = [...new Set(figures.flatMap((figure) => figure.faults))];
    for (const fault of faults) console.log(`  NOT CORRECT: ${fault}`);
    console.log(faults.length === 0 ? '  all correct' : `  ${faults.length} faults`);
    if (faults.length > 0) this.failed += 1;
    this.entries.push(...figures.flatMap((figure) => entries(name, figure, cores)));
  }
}

async function bringUp(signal: AbortSignal): Promise<BenchCluster> {
  if (!existsSync(CLI)) throw new ClusterError('not_found', `${CLI} is missing`, { hint: 'run: npm run setup' });
  console.error(`\nstarting a cluster of ${HOSTS} hosts`);
  return BenchCluster.up(signal);
}

/** @throws ClusterError `invalid` for a name that is none */
function chosen(names: readonly string[]): readonly Bench[] {
  const unknown = names.find((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown !== undefined) {
    const known = BENCHES.map((bench) => bench.name).join(', ');
    throw new ClusterError('invalid', `no bench "${unknown}"`, { hint: `there are ${known}` });
  }
  return names.length === 0 ? BENCHES : BENCHES.filter((bench) => names.includes(bench.name));
}

/** @throws ClusterError `invalid` for what is not a number of runs */
function runsFrom(text: string | undefined): number | undefined {
  const runs = text === undefined ? undefined : Number(text);
  if (runs === undefined || (Number.isInteger(runs) && runs > 0)) return runs;
  throw new ClusterError('invalid', `--runs ${text} is not a number of runs`, { hint: 'give one from 1' });
}

/** Aborted by the first signal that would end us; later ones change nothing, so that cleaning up comes to its end. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (!controller.signal.aborted) console.error(`\n${name}: ending, and removing what was made`);
      controller.abort(new ClusterError('unavailable', 'interrupted'));
    });
  }
  return controller.signal;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'string' }, runs: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return EXIT.done;
  }
  const benches = chosen(positionals);
  if (process.getuid?.() !== 0)
    throw new ClusterError('denied', 'namespaces and cgroups need root', { hint: 'use sudo' });
  const signal = interruption();
  console.log(machine().join('\n'));
  const run = new Run(signal, runsFrom(values.runs));
  try {
    for (const bench of benches) await run.bench(bench);
  } catch (cause) {
    if (!signal.aborted) throw cause;
    return EXIT.interrupted;
  } finally {
    await run.close();
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(run.entries, undefined, 2)}\n`);
  }
  return run.failed === 0 ? EXIT.done : EXIT.failed;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    const known = toClusterError(error);
    console.error(`npm run bench: ${explain(known)}`);
    process.exit(known.code === 'invalid' ? EXIT.usage : EXIT.failed);
  },
);
