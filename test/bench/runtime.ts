/**
 * Container start → exit of the native core beside crun and runc and beside the bare kernel, in one run, block by block in
 * turn, so that other load on the machine strikes all of them alike: read the ratios. A block begins when what the one
 * before has left to the kernel is done. All of it lies on a disk of its own (own-disk.ts).
 *
 * Each is driven by a small program, many at once where that is asked: the core by native/test/core, from before its config is
 * read until its exit is on disk and known; crun and runc from spawn to exit, on root file systems that were mounted for
 * them beforehand; the bound is native/test/bound. All run the same static program from the same config, in a user
 * namespace too, and under the same system call filter. The figures are the time of a run, and of more than one at once
 * also the starts a second, cgroups removed again. What Node adds to the core, by the addon that an agent uses, is told
 * beside it; what an agent adds is in bench:agent.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { configText } from '../../agent/runtime/config-text.ts';
import { hostFacts } from '../../agent/runtime/host-facts.ts';
import { type OciConfig, ociConfig } from '../../agent/runtime/oci-config.ts';
import type { ContainerIdentity } from '../../native/container.ts';
import { builtFile, native } from '../../native/index.ts';
import { type Figure, median, type Peer, type Report } from './figure.ts';
import { ownDisk } from './own-disk.ts';
import { pssKib, untilAtRest } from './processes.ts';
import {
  type Block,
  boundBlock,
  COMMAND,
  coreBlock,
  EXIT_CODE,
  filterOf,
  peerBlock,
  type Stage,
  whyNot,
} from './runtime-contenders.ts';

const RUNS = 200;
const AT_ONCE = [1, 2, 8];
/** Short, so that a disturbance strikes a block of each. */
const BLOCK = 20;
/** Of a block, one after another: with less, many at once would be measured while they begin and end. */
const WAVES = 10;
const SHIM_ROUNDS = 5;
/** The host's ids that are every container's: nobody else's, or the bench would share files with them. */
const ID_BASE = 1_900_000_000;
const PEERS = ['crun', 'runc'] as const;
/** What the core is held against, and what we aim at: so many times its time at most. */
const AIMS = { bound: 1.5, crun: 0.5, runc: 0.5 };

type Aimed = keyof typeof AIMS;
type Name = 'covey' | 'addon' | Aimed;

const AGAINST: readonly Aimed[] = ['bound', ...PEERS];
const SHOWN: Readonly<Record<Name, string>> = {
  bound: 'the bare kernel',
  covey: 'covey',
  addon: 'covey by the addon',
  crun: 'crun',
  runc: 'runc',
};

/** @param runs  of each contender at each number at once; default 200 */
export async function benchRuntime(signal: AbortSignal, runs = RUNS): Promise<Report> {
  const disk = ownDisk();
  const bare = await prepare(disk.folder).catch((cause: unknown) => {
    disk.remove();
    throw cause;
  });
  try {
    const filter = await takeFilter(bare);
    const stage = { ...bare, filter };
    const absent = { crun: await whyNot(stage, 'crun'), runc: await whyNot(stage, 'runc') };
    const names: readonly Name[] = ['bound', 'covey', 'addon', ...PEERS.filter((peer) => absent[peer] === undefined)];
    const figures: Figure[] = [];
    for (const atOnce of AT_ONCE) {
      const blocks = await inTurns(stage, names, runs, atOnce, signal);
      figures.push(...timesOf(blocks, atOnce), ...(atOnce === 1 ? [] : ratesOf(blocks, atOnce)));
    }
    const pss: number[] = [];
    for (let round = 0; round < SHIM_ROUNDS; round += 1) pss.push(await shimPssKib(stage, round));
    // Alone it also counts the program's own pages, which all others share: the aim is of those, in bench:agent.
    figures.push({ name: 'shim alone: PSS', unit: 'KiB', samples: pss, faults: [] });
    const unfiltered =
      filter === '-' ? ['the bare kernel runs without a system call filter: the kernel tells none'] : [];
    return { figures, notes: [...disk.notes, ...PEERS.flatMap((peer) => absent[peer] ?? []), ...unfiltered] };
  } finally {
    await cleanUp(bare).finally(() => disk.remove());
  }
}

type Blocks = ReadonlyMap<Name, readonly Block[]>;

async function inTurns(
  stage: Stage,
  names: readonly Name[],
  runs: number,
  atOnce: number,
  signal: AbortSignal,
): Promise<Blocks> {
  const blocks = new Map<Name, Block[]>(names.map((name) => [name, []]));
  const size = Math.max(BLOCK, WAVES * atOnce);
  for (let left = runs; left > 0; left -= size) {
    for (const name of names) {
      signal.throwIfAborted();
      await untilAtRest();
      blocks.get(name)?.push(await blockBy(name, stage, Math.min(size, left), atOnce));
    }
  }
  return blocks;
}

async function blockBy(name: Name, stage: Stage, count: number, atOnce: number): Promise<Block> {
  switch (name) {
    case 'bound':
      return boundBlock(stage, count, atOnce);
    case 'covey':
      return await coreBlock(stage, count, atOnce);
    case 'addon':
      return await addonBlock(stage, count, atOnce);
    case 'crun':
    case 'runc':
      return await peerBlock(stage, name, count, atOnce);
  }
}

function timesOf(blocks: Blocks, atOnce: number): readonly Figure[] {
  const samples = (name: Name): readonly number[] => (blocks.get(name) ?? []).flatMap((block) => block.ms);
  const suffix = atOnce === 1 ? 'one after another' : `${atOnce} at once`;
  return figuresOf(blocks, samples, { unit: 'ms', suffix, kind: 'at most' });
}

function ratesOf(blocks: Blocks, atOnce: number): readonly Figure[] {
  const samples = (name: Name): readonly number[] => (blocks.get(name) ?? []).map((block) => block.startsPerSecond);
  return figuresOf(blocks, samples, { unit: 'starts/s', suffix: `${atOnce} at once`, kind: 'at least' });
}

interface Style {
  readonly unit: 'ms' | 'starts/s';
  readonly suffix: string;
  readonly kind: 'at most' | 'at least';
}

function figuresOf(blocks: Blocks, samples: (name: Name) => readonly number[], style: Style): readonly Figure[] {
  const { unit, suffix, kind } = style;
  const beside = (name: Name): Peer => ({ name: SHOWN[name], figure: median(samples(name)), isMeasured: true });
  const against = (name: Aimed): Peer => {
    const ratio = AIMS[name];
    const value = kind === 'at most' ? ratio : Number((1 / ratio).toFixed(2));
    return { ...beside(name), aim: { kind, value } };
  };
  // A wrong exit code ends the bench, so what is here is correct.
  const figure = (name: Name): Figure => ({
    name: `${SHOWN[name]}, ${suffix}`,
    unit,
    samples: samples(name),
    faults: [],
  });
  const others = AGAINST.filter((name) => blocks.has(name));
  return [
    { ...figure('covey'), peers: others.map(against) },
    { ...figure('addon'), peers: [beside('bound'), beside('covey')] },
    ...others.map(figure),
  ];
}

/** Containers of a run that was broken off are killed; the peers also use hierarchies that Covey leaves alone. */
async function cleanUp(stage: Stage): Promise<void> {
  await native().cgroupRemove(stage.cgroup);
  for (const hierarchy of ['systemd', 'unified']) {
    const left = join('/sys/fs/cgroup', hierarchy, stage.cgroup);
    if (!existsSync(left)) continue;
    for (const name of readdirSync(left, { withFileTypes: true }))
      if (name.isDirectory()) rmdirSync(join(left, name.name));
    rmdirSync(left);
  }
}

async function prepare(folder: string): Promise<Stage> {
  const layer = join(folder, 'layer');
  for (const name of ['bin', 'proc', 'dev', 'sys']) mkdirSync(join(layer, name), { recursive: true });
  const stateDir = join(folder, 'state');
  await native().makeSpreadFolder(stateDir);
  // runc looks at its bundle with the ids of the container.
  for (const path of [folder, stateDir]) chmodSync(path, 0o711);
  cpSync(builtFile('test-init'), join(layer, 'bin', 'init'));
  const cgroup = `/covey-test-${process.pid}-${randomBytes(6).toString('hex')}`;
  await native().cgroupEnsureParent(cgroup);
  const image = { layers: [], entrypoint: ['/bin/init'], cmd: [], env: [], workdir: '', user: '', stopSignal: '' };
  const host = hostFacts();
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
      host,
      ids: { base: ID_BASE },
    });
  return { folder, stateDir, layer, cgroup, config, idBase: ID_BASE, filter: '-' };
}

async function addonBlock(stage: Stage, count: number, atOnce: number): Promise<Block> {
  const ms: number[] = [];
  // Written beforehand, as the peers' bundles are.
  const runs = Array.from({ length: count }, (_, number) => {
    const id = `covey${number}`;
    return { id, config: configText(stage.config(id, COMMAND)) };
  });
  const from = performance.now();
  const worker = async (): Promise<void> => {
    for (let run = runs.pop(); run !== undefined; run = runs.pop()) ms.push(await coveyOnce(stage, run.id, run.config));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const startsPerSecond = (count * 1_000) / (performance.now() - from);
  for (const name of readdirSync(stage.stateDir)) await native().removeTree(join(stage.stateDir, name));
  return { ms, startsPerSecond };
}

async function createCovey(stage: Stage, id: string, config: string) {
  const stateDir = join(stage.stateDir, id);
  mkdirSync(stateDir);
  const identity = await native().containerCreate(config, {
    id,
    stateDir,
    layers: [stage.layer],
    overlayMode: 'auto',
    volatile: true,
    reaper: false,
    logPath: join(stateDir, 'log'),
    logMaxBytes: 10 << 20,
    logFiles: 5,
    logFormat: 'text',
    logBufferBytes: 0,
    input: false,
    inputOnce: false,
    restart: null,
    shimPath: builtFile('covey-shim'),
  });
  return { stateDir, identity };
}

async function coveyOnce(stage: Stage, id: string, config: string): Promise<number> {
  const from = performance.now();
  const { stateDir, identity } = await createCovey(stage, id, config);
  const watch = native().watchProcess(identity.shimPid, identity.shimStartTime);
  const attendance = await native().containerStart(stateDir);
  await watch.ended;
  const { code } = JSON.parse(readFileSync(join(stateDir, 'exit.json'), 'utf8'));
  const tookMs = performance.now() - from;
  if (code !== EXIT_CODE) throw new Error(`covey: exit code ${code}`);
  attendance.release();
  await native().cgroupRemove(`${stage.cgroup}/${id}`);
  return tookMs;
}

/** Of a container of ours, for the bound: into a file. "-" where the kernel does not tell it. */
async function takeFilter(stage: Stage): Promise<string> {
  const file = join(stage.folder, 'filter');
  return await whileAsleep(stage, 'filter', ({ pid }) => {
    try {
      writeFileSync(file, filterOf(pid));
      return file;
    } catch {
      return '-';
    }
  });
}

async function shimPssKib(stage: Stage, round: number): Promise<number> {
  return await whileAsleep(stage, `rest${round}`, ({ shimPid }) => pssKib(shimPid) ?? Number.NaN);
}

/** Looks at a container that does nothing, and ends it. */
async function whileAsleep<T>(stage: Stage, id: string, look: (identity: ContainerIdentity) => T): Promise<T> {
  const { stateDir, identity } = await createCovey(stage, id, configText(stage.config(id, ['sleep'])));
  const watch = native().watchProcess(identity.shimPid, identity.shimStartTime);
  const attendance = await native().containerStart(stateDir);
  try {
    return look(identity);
  } finally {
    attendance.release();
    await native().cgroupKill(`${stage.cgroup}/${id}`);
    await watch.ended;
  }
}
