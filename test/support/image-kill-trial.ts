/**
 * Kills an agent while it pulls, unpacks and removes images, and looks at what the next one makes of it: the image that is used
 * is whole, and beside what the store lists there is no file.
 */
import { fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdtemp, readdir, readFile, readlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Digest } from '../../common/model/ids.ts';
import { native } from '../../native/index.ts';
import type { Dice } from '../sim/dice.ts';
import { type BuiltImage, imageOf, layer } from './image-archive.ts';
import type { PullerOrder } from './killed-puller-child.ts';
import { MeshAgent, MeshManager, meshCa } from './mesh-world.ts';

/** So long an agent may live: it has pulled, unpacked and removed everything a few times by then. */
const LIFE_MS_MAX = 1_500;
/** Slow enough that a pull is met in the middle, fast enough that its end is. */
const UPLOAD_RATE = 60_000_000;
const FILES = 400;
const BIG_BYTES = 3_000_000;

export interface KillTrial {
  readonly kills: number;
  readonly dice: Dice;
  readonly signal: AbortSignal;
  readonly onKill?: (number: number, ms: number) => void;
}

/** What was not as it must be after a kill, in words; empty: all well. */
export async function imageKillTrial({
  kills,
  dice,
  signal,
  onKill = () => {},
}: KillTrial): Promise<readonly string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'covey-image-kills-'));
  const ca = await meshCa();
  const manager = await MeshManager.open(join(dir, 'manager'), {
    ca,
    uploadRate: UPLOAD_RATE,
    addressOf: () => undefined,
  });
  const faults: string[] = [];
  try {
    const images = await makeImages(manager, dice);
    const order = { ca, manager: manager.address, images: images.map(({ digest }) => digest as Digest) };
    const expected = await lookAt({ ...order, dir: join(dir, 'sound') }, signal);
    for (let kill = 1; kill <= kills && !signal.aborted; kill += 1) {
      const ms = dice.between(0, LIFE_MS_MAX);
      await lived({ ...order, dir: join(dir, 'killed') }, ms);
      onKill(kill, ms);
      const found = await lookAt({ ...order, dir: join(dir, 'killed') }, signal);
      if (JSON.stringify(found) !== JSON.stringify(expected))
        faults.push(`after kill ${kill} (${ms} ms): ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`);
    }
    return faults;
  } finally {
    await manager.close();
    await native().removeTree(dir);
  }
}

async function makeImages(manager: MeshManager, dice: Dice): Promise<readonly BuiltImage[]> {
  const big = randomBytes(BIG_BYTES);
  const many = Array.from({ length: FILES }, (_, at) => ({
    path: `many/${at}`,
    body: randomBytes(dice.between(0, 8_000)),
  }));
  const shared = layer([{ path: 'big', body: big }]);
  const first = imageOf({ layers: [shared, layer([{ path: 'many/', type: '5' }, ...many])] });
  const second = imageOf({
    reference: 'api:1',
    layers: [shared, layer([{ path: 'own', body: randomBytes(300_000) }])],
  });
  for (const { blobs } of [first, second]) for (const blob of blobs.values()) await manager.put(blob);
  return [first, second];
}

/** An agent begins, works and is killed `ms` later. */
async function lived(order: PullerOrder, ms: number): Promise<void> {
  const child = fork(join(import.meta.dirname, 'killed-puller-child.ts'), [], { execArgv: ['--import', 'tsx'] });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  const begun = new Promise<void>((resolve) => {
    child.once('message', () => resolve());
  });
  child.send(order);
  try {
    await Promise.race([begun, ended]);
    await Promise.race([wait(ms), ended]);
    if (child.exitCode !== null) throw new Error(`the agent ended by itself with ${child.exitCode}`);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

/** What the next agent has of the images, and which files are there when it uses the first one only. */
async function lookAt(
  { dir, ca, manager, images }: PullerOrder,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const agent = await MeshAgent.open({ dir, id: 'next', ca, managers: () => [manager] });
  try {
    const trees: string[] = [];
    for (const digest of images) {
      for (const path of (await agent.images.ensure('killed:1', digest, signal)).layers) trees.push(await treeOf(path));
    }
    for (const digest of images.slice(1)) await agent.images.remove(digest, signal);
    // Packed layers are kept as they happened to come.
    for (const { digest } of await agent.images.packed()) await agent.images.dropPacked(digest);
    await agent.images.sweep(signal);
    await agent.images.close();
    return { trees, files: await namesIn(dir) };
  } finally {
    await agent.close();
  }
}

/** Everything at the top of each of the store's folders. */
async function namesIn(dir: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const folder of ['.', 'blobs', 'blobs/sha256', 'incoming', 'images', 'layers']) {
    for (const name of await readdir(join(dir, folder))) names.push(`${folder}/${name}`);
  }
  return names.toSorted();
}

/** One word for names, modes, owners, times and contents. */
async function treeOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  const visit = async (at: string, name: string): Promise<void> => {
    const { mode, uid, gid, mtimeMs, rdev } = await lstat(at);
    hash.update(`${name} ${mode} ${uid} ${gid} ${name === '' ? 0 : mtimeMs} ${rdev}\n`);
    const kind = mode & 0o170000;
    if (kind === 0o100000) hash.update(await readFile(at));
    if (kind === 0o120000) hash.update(await readlink(at));
    if (kind !== 0o040000) return;
    for (const each of (await readdir(at)).toSorted()) await visit(join(at, each), `${name}/${each}`);
  };
  await visit(path, '');
  return hash.digest('hex').slice(0, 16);
}
