/** Agents that are killed in the middle of a build, and what the next one finds. */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BuilderEvent } from '../../agent/build/builder.ts';
import { packLayer } from '../../agent/image/layer-writer.ts';
import { BuildWorld } from './build-world.ts';
import { forever, type NativeWorld } from './native-world.ts';

type Place = Pick<NativeWorld, 'folder' | 'cgroupParent'>;

const FILE = `FROM base:1 AS one
ARG ROUND=none
COPY . /context
RUN --mount=type=secret,id=key --mount=type=cache,target=/c for i in 1 2 3 4 5; do head -c 200000 /dev/urandom > /f$i; echo $i; done
FROM base:1
ARG ROUND=none
RUN echo $ROUND > /round; echo said
COPY --from=one /f3 /context/ /copied/
WORKDIR /made/here
`;

/** Other contents each time, large ones and many. */
const CONTEXT =
  'for i in 1 2 3; do head -c 2000000 /dev/urandom > z$i; done; mkdir d; ln -s ../z1 d/l; for i in {1..300}; do echo $i $RANDOM > d/$i; done';

/** One build of a killed agent's; `tell` hears what happens. */
export async function victimBuild(world: BuildWorld, round: string, tell: (what: string) => void): Promise<string> {
  const said = {
    args: { ROUND: round },
    secrets: new Map([['key', Buffer.from('hush')]]),
    onEvent: (event: BuilderEvent) => tell(event.kind),
  };
  return (await world.buildIn(world.folderOf(CONTEXT), FILE, said)).digest;
}

/**
 * Starts an agent's builder in `place` and kills it when it has said `lines` lines; then looks at what it left.
 *
 * @returns what is wrong, a line each; empty: nothing
 */
export async function killTrial(place: Place, lines: number): Promise<readonly string[]> {
  await killedAfter(place, lines);
  const world = await BuildWorld.open(place);
  try {
    const left = await world.leftovers();
    return [
      ...left.map((what) => `left: ${what}`),
      ...(await brokenLayers(world)),
      ...brokenContents(world),
      ...(await wrongBuild(world)),
    ];
  } finally {
    await world.images.close();
    world.native.runtime.close();
  }
}

async function killedAfter({ folder, cgroupParent }: Place, lines: number): Promise<void> {
  const path = new URL('build-victim.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, ['--import', 'tsx', path, folder, cgroupParent], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  let said = 0;
  for await (const _ of createInterface(child.stdout)) {
    said += 1;
    if (said === lines) child.kill('SIGKILL');
  }
  const [code, signal] = (await exited) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the agent ended by itself with ${code ?? signal} after ${said} lines`);
}

/** No layer that shows under its name is anything but what the name says. */
async function brokenLayers(world: BuildWorld): Promise<readonly string[]> {
  const { blobs, folders } = world.images;
  const broken: string[] = [];
  for (const diffId of await folders.list()) {
    try {
      const blob = await packLayer(blobs, { dir: folders.pathOf(diffId), diffId }, forever);
      await blobs.remove(blob.digest);
    } catch (cause) {
      broken.push(`layer ${diffId}: ${String(cause)}`);
    }
  }
  return broken;
}

/** No content of a context that shows under its name is anything but what the name says. */
function brokenContents(world: BuildWorld): readonly string[] {
  const dir = join(world.native.folder, 'build', 'listed', 'contents');
  const digest = (name: string): string =>
    createHash('sha256')
      .update(readFileSync(join(dir, name)))
      .digest('hex');
  return readdirSync(dir)
    .filter((name) => digest(name) !== name)
    .map((name) => `content ${name} is another one`);
}

async function wrongBuild(world: BuildWorld): Promise<readonly string[]> {
  await world.addBase('base:1');
  const tree = await world.tree((await victimBuild(world, 'after', () => undefined)) as never);
  const round = readFileSync(join(tree, 'round'), 'utf8');
  const copied = readdirSync(join(tree, 'copied')).toSorted().join(' ');
  const after = await world.leftovers();
  return [
    ...(round === 'after\n' ? [] : [`the next build says ${round}`]),
    ...(copied === 'd f3 z1 z2 z3' ? [] : [`the next build copied ${copied}`]),
    ...after.map((what) => `left by the next build: ${what}`),
  ];
}
