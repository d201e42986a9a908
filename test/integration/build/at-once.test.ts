/** Builds, pulls, removals and prunes of one image at once, on the node and in the cluster: whatever comes out on top is whole. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { toClusterError } from '../../../common/errors.ts';
import type { Digest } from '../../../common/model/ids.ts';
import { BuildWorld } from '../../support/build-world.ts';
import { forever } from '../../support/native-world.ts';

const ROUNDS = 6;
let world: BuildWorld;
beforeEach(async () => {
  world = await BuildWorld.open();
  await world.addBase('base:1');
});
afterEach(() => world.destroy());

/** Of an image that may be gone at that moment; everything else is a failure. */
async function mayBeGone(work: Promise<unknown>): Promise<void> {
  await work.catch((cause: unknown) => {
    expect(toClusterError(cause), String(cause)).toMatchObject({ code: 'not_found' });
  });
}

it('leave an image that is whole or gone, and nothing besides', async () => {
  const context = 'seq 1 20000 > f; mkdir d; ln f d/g';
  const file = (round: number): string =>
    `FROM base:1\nCOPY . /c/\nRUN echo ${round} > /round; cat /c/f /c/d/g > /both\n`;
  const nobody = { until: 0, labels: [], labelsNot: [], plan: false };
  for (let round = 0; round < ROUNDS; round += 1) {
    const first = await world.build(file(round), { context });
    const digest: Digest = first.digest;
    const [one, two] = await Promise.all([
      world.build(file(round), { context }),
      world.build(file(round), { context, names: ['built:1', 'built:again'] }),
      mayBeGone(world.images.ensure('built:1', digest, forever)),
      mayBeGone(world.images.ensure('built:1', digest, forever)),
      world.images.remove(digest, forever),
      world.images.sweep(forever),
      mayBeGone(world.manager.remove('built:1', { force: true }, forever)),
      world.manager.prune({ ...nobody, all: false }, forever),
      world.manager.collect(forever),
    ]);
    expect([one.digest, two.digest]).toEqual([digest, digest]);
    // Whoever names it now gets all of it, at the manager and here.
    await world.build(file(round), { context });
    await world.manager.collect(forever);
    const tree = await world.tree(digest);
    expect(readFileSync(join(tree, 'round'), 'utf8')).toBe(`${round}\n`);
    expect(readFileSync(join(tree, 'both'), 'utf8').length).toBe(2 * readFileSync(join(tree, 'c', 'f')).length);
    expect(await world.leftovers()).toEqual([]);
    const named = new Set(world.manager.list().flatMap(({ blobs }) => blobs));
    expect((await world.manager.blobs.list()).toSorted()).toEqual([...named].toSorted());
    expect(readdirSync(world.manager.blobs.incoming)).toEqual([]);
  }
});
