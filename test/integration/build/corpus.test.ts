/** Every Dockerfile of the corpus, built by us: files, modes, owners and config are what test/corpus/dockerfiles expects. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ignoreOf } from '../../../common/context/ignore.ts';
import { explain, toClusterError } from '../../../common/errors.ts';
import { BuildWorld } from '../../support/build-world.ts';
import {
  type CorpusCase,
  contextScript,
  differences,
  makeBase,
  readCorpus,
  spokenConfig,
  treeBeyond,
} from '../../support/dockerfile-corpus.ts';

let world: BuildWorld;
let base: string;

beforeAll(async () => {
  world = await BuildWorld.open();
  base = mkdtempSync(join(tmpdir(), 'covey-corpus-'));
  makeBase(base);
  await world.build('FROM scratch\nCOPY . /\nCMD ["/bin/sh"]', { names: ['base'], context: `cp -a ${base}/. .` });
});
afterAll(async () => {
  if (base !== undefined) rmSync(base, { recursive: true });
  await world?.destroy();
});

const cases = readCorpus().map((each): readonly [string, CorpusCase] => [`${each.name}: ${each.rule}`, each]);

it.each(cases)('%s', async (_, each) => {
  const script = `umask 022; ${contextScript(each.name)}`;
  const { args, target, expected } = each;
  const building = world.build(each.dockerfile, {
    args,
    ...(target === undefined ? {} : { target }),
    context: script,
    prepare: leaveOutIgnored,
  });
  if ('error' in expected) {
    const error = await building.then(
      () => 'it was built',
      (cause: unknown) => explain(toClusterError(cause)),
    );
    expect(error).toContain(expected.error);
    return;
  }
  const { digest } = await building;
  const tree = treeBeyond(await world.tree(digest), base);
  const { config } = await world.config(digest);
  expect(differences(expected.tree, tree)).toEqual([]);
  expect(differences(expected.config, spokenConfig(config))).toEqual([]);
});

/** As the client does it before it sends a context. */
function leaveOutIgnored(context: string): void {
  const file = join(context, '.dockerignore');
  if (!existsSync(file)) return;
  const ignore = ignoreOf(readFileSync(file, 'utf8'), '.dockerignore');
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(context, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() ? ignore.isWhole(path) : ignore.ignores(path))
        rmSync(join(context, path), { recursive: true });
      else if (entry.isDirectory()) visit(path);
    }
  };
  visit('');
}
