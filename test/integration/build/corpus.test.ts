import { mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { treeEntries } from '../../../agent/image/tree.ts';
import { tarOf } from '../../../common/oci/tar-writer.ts';
import { BuildWorld } from '../../support/build-world.ts';
import {
  type Config,
  differences,
  makeBase,
  makeContext,
  readCorpus,
  spokenConfig,
  treeBeyond,
} from '../../support/dockerfile-corpus.ts';
import { forever } from '../../support/native-world.ts';

let world: BuildWorld;
let base: string;

beforeAll(async () => {
  world = await BuildWorld.open();
  base = join(world.native.folder, 'corpus-base');
  mkdirSync(base);
  makeBase(base);
  const context = tarOf(treeEntries({ layers: [{ path: base, idBase: 0 }] }, forever));
  await world.buildFrom(context, 'FROM scratch\nCOPY . /\nCMD ["/bin/sh"]', { names: ['base'] });
});
afterAll(() => world.destroy());

it.each(readCorpus())('$name: $rule', async ({ name, dockerfile, args, target, expected }) => {
  const folder = mkdtempSync(join(world.native.folder, 'corpus-'));
  makeContext(name, folder);
  const said = { args, names: [`corpus/${name}`], ...(target === undefined ? {} : { target }) };
  const built = world.buildIn(folder, dockerfile, said);
  if ('error' in expected) {
    await expect(built).rejects.toMatchObject({ message: expect.stringContaining(expected.error) });
    return;
  }
  const { digest } = await built;
  expect(differences(expected.tree, treeBeyond(await world.tree(digest), base))).toEqual([]);
  const { config } = await world.config(digest);
  expect(differences(expected.config, spokenConfig(config as Config))).toEqual([]);
});
